//! Configuration on its way: messages of delta xDS, and the snapshot on disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use config::identity::{GatewayRef, Role};
use config::snapshot::{self, SnapshotError};
use config::{Key, Resource, fuzzing};

use crate::memory::bounded;

/// In memory where there is a place for that: each file is synced.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
    dir.join(format!("fairway-fuzz-{}", std::process::id()))
});

/// A message, or a snapshot without the checksum at its end.
pub fn run(data: &[u8]) {
    let resources = bounded(data.len(), 64 << 10, || fuzzing::response(data));
    for (key, resource) in resources.into_iter().flatten() {
        again(&key, &resource);
    }
    let _ = bounded(data.len(), 64 << 10, || fuzzing::request(data));
    if data.starts_with(b"FAIRWAY-SNAPSHOT ") {
        on_disk(data);
    }
}

fn again(key: &Key, resource: &Arc<Resource>) {
    let Some(sent) = fuzzing::sent(key, resource) else { return };
    assert_eq!(fuzzing::response(&sent), [Ok((key.clone(), resource.clone()))]);
}

fn on_disk(data: &[u8]) {
    let gateway = GatewayRef::new(Role::Gateway, "shop", "edge");
    let read = || snapshot::read(&FILE, &gateway);
    fs::write(&*FILE, data).expect("a file");
    assert!(
        matches!(read(), Err(SnapshotError::Damaged { .. } | SnapshotError::Schema { .. })),
        "no checksum"
    );
    fs::write(&*FILE, fuzzing::sealed(data)).expect("a file");
    // Two buffers of 64 KiB.
    if let Ok(found) = bounded(data.len(), 256 << 10, read) {
        snapshot::write(&FILE, &gateway, &found, true).expect("a file");
        assert_eq!(read().expect("it was written"), found);
    }
    fs::remove_file(&*FILE).expect("a file");
}
