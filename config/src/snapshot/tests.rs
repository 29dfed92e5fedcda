use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use proptest::prelude::*;

use super::*;
use crate::identity::Role;
use crate::{Backend, Certificate, Kind, Redacted};

fn gateway() -> GatewayRef {
    GatewayRef::new(Role::Gateway, "shop", "edge")
}

fn snapshot() -> Snapshot {
    let record = |kind, name: &str, resource| Record {
        key: Key::new(kind, "shop", name),
        version: "v1".into(),
        resource: Arc::new(resource),
    };
    let certificate = Certificate { chain: "chain".into(), key: Redacted::new("very secret") };
    let records = vec![
        record(Kind::Certificate, "tls", Resource::Certificate(certificate)),
        record(Kind::Backend, "cart:80", Resource::Backend(Backend::default())),
        record(Kind::Backend, "pay:80", Resource::Backend(Backend::default())),
    ];
    Snapshot { generation: Generation::new(2, 77), records }
}

fn written(with_keys: bool) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("snapshot");
    write(&path, &gateway(), &snapshot(), with_keys).unwrap();
    (directory, path)
}

#[test]
fn what_is_written_is_read() {
    let (_directory, path) = written(true);
    assert_eq!(read(&path, &gateway()).unwrap(), snapshot());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    // Again in its place, also when an earlier try was killed.
    fs::write(path.with_file_name(".snapshot.new"), "half").unwrap();
    write(&path, &gateway(), &snapshot(), true).unwrap();
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn private_keys_are_written_only_where_allowed() {
    let (_directory, path) = written(false);
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains("very secret"));
    assert_eq!(read(&path, &gateway()).unwrap().records, snapshot().records[1..]);
    assert_eq!(write(&path, &gateway(), &snapshot(), false).unwrap(), 1);
}

#[test]
fn a_snapshot_that_is_not_there_not_ours_or_of_another_schema_is_refused() {
    let (directory, path) = written(true);
    let other = GatewayRef::new(Role::Waypoint, "shop", "edge");
    assert!(
        matches!(read(&path, &other), Err(SnapshotError::Gateway { found, .. }) if found == "gateway/shop/edge")
    );
    let missing = directory.path().join("missing");
    assert!(matches!(read(&missing, &gateway()), Err(SnapshotError::Missing(_))));
    let newer = fs::read_to_string(&path).unwrap().replacen("SNAPSHOT 1", "SNAPSHOT 2", 1);
    fs::write(&path, newer).unwrap();
    assert!(matches!(read(&path, &gateway()), Err(SnapshotError::Schema { found, .. }) if found == "2"));
    assert!(matches!(read(directory.path(), &gateway()), Err(SnapshotError::Read { .. })));
    fs::write(&path, "").unwrap();
    assert!(matches!(read(&path, &gateway()), Err(SnapshotError::Damaged { .. })));
}

#[test]
fn a_resource_this_version_cannot_read_is_left_out_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("snapshot");
    let mut out = Checked::new(File::create(&path).unwrap());
    let header = Header { gateway: gateway().to_string(), generation: Generation::new(0, 1) };
    writeln!(out, "{MAGIC}{SCHEMA}").unwrap();
    line(&mut out, &header).unwrap();
    writeln!(out, r#"{{"key":"Teapot/a/b","version":"1","resource":{{"kind":"Teapot"}}}}"#).unwrap();
    writeln!(out, r#"{{"key":"Backend/a/b:80","version":"1","resource":{{"kind":"Backend"}}}}"#).unwrap();
    let (mut out, digest) = out.finish();
    writeln!(out, "{digest}").unwrap();
    assert_eq!(read(&path, &gateway()).unwrap().records.len(), 1);
}

#[test]
fn a_directory_that_cannot_be_written_is_an_error_and_leaves_the_old_snapshot() {
    let (directory, path) = written(true);
    let inside = path.join("snapshot");
    assert!(write(&inside, &gateway(), &snapshot(), true).is_err());
    assert!(write(&directory.path().join("no/where"), &gateway(), &snapshot(), true).is_err());
    assert!(read(&path, &gateway()).is_ok());
}

proptest! {
    #[test]
    fn any_changed_byte_is_seen(place in any::<prop::sample::Index>(), change in 1..=u8::MAX) {
        let (_directory, path) = written(true);
        let mut bytes = fs::read(&path).unwrap();
        let place = place.index(bytes.len());
        bytes[place] ^= change;
        fs::write(&path, bytes).unwrap();
        prop_assert!(read(&path, &gateway()).is_err());
    }

    #[test]
    fn any_cut_or_addition_is_seen(keep in any::<prop::sample::Index>(), more in prop::collection::vec(any::<u8>(), 0..80)) {
        let (_directory, path) = written(true);
        let mut bytes = fs::read(&path).unwrap();
        let whole = bytes.clone();
        bytes.truncate(keep.index(bytes.len() + 1));
        bytes.extend(more);
        fs::write(&path, &bytes).unwrap();
        prop_assert_eq!(read(&path, &gateway()).is_ok(), bytes == whole);
    }

    #[test]
    fn no_bytes_make_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("snapshot");
        fs::write(&path, &bytes).unwrap();
        prop_assert!(read(&path, &gateway()).is_err());
    }
}
