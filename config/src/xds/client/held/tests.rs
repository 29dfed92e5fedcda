use super::*;
use crate::{Backend, Kind};

fn key(name: &str) -> Key {
    Key::new(Kind::Backend, "n", name)
}

fn backend(limit: u32) -> Arc<Resource> {
    Arc::new(Resource::Backend(Backend { max_connections: Some(limit), ..Backend::default() }))
}

fn good(name: &str, limit: u32) -> Decoded {
    let (key, version) = (key(name), limit.to_string().into());
    Decoded { name: key.to_string(), version, resource: Ok((key, backend(limit))) }
}

fn bad(name: &str) -> Decoded {
    Decoded { name: name.into(), version: "bad".into(), resource: Err("cannot be read".into()) }
}

fn generation(revision: u64) -> Generation {
    Generation::new(0, revision)
}

fn refused(name: &str) -> Rejection {
    Rejection { key: key(name), severity: Severity::Refused, message: "no".into() }
}

fn told(held: &mut Held, revision: u64, decoded: Vec<Decoded>, removed: &[&str]) -> Update {
    held.part((decoded, removed.iter().map(ToString::to_string).collect()));
    held.complete(generation(revision)).unwrap()
}

#[test]
fn parts_become_one_update() {
    let mut held = Held::default();
    held.part((vec![good("a", 1)], Vec::new()));
    assert_eq!(held.generation(), None, "nothing is in use before the last part");
    let update = told(&mut held, 5, vec![good("b", 1)], &[]);
    assert_eq!((update.version, update.upserts.len()), (5, 2));
    assert_eq!(held.versions().len(), 2);
    let update = told(&mut held, 6, Vec::new(), &["Backend/n/a", "Backend/n/unknown", "Teapot/x"]);
    assert_eq!((update.removes, held.versions().len()), (vec![key("a")], 1));
}

#[test]
fn parts_of_a_stream_that_broke_are_forgotten() {
    let mut held = Held::default();
    held.part((vec![good("a", 1)], Vec::new()));
    held.begin();
    assert!(told(&mut held, 1, Vec::new(), &[]).is_empty());
}

#[test]
fn older_configuration_is_refused_and_changes_nothing() {
    let mut held = Held::default();
    told(&mut held, 5, vec![good("a", 1)], &[]);
    held.part((vec![good("a", 2)], Vec::new()));
    assert!(held.complete(generation(4)).is_err());
    assert_eq!(held.versions()[&key("a").to_string()], "1");
    assert!(told(&mut held, 5, Vec::new(), &[]).is_empty(), "what came with it is gone");
    held.part((vec![good("a", 2)], Vec::new()));
    assert!(held.complete(Generation::new(1, 1)).is_ok(), "a new epoch begins again");
}

#[test]
fn what_cannot_be_decoded_is_rejected_until_it_can_be_and_keeps_its_last_good_version() {
    let mut held = Held::default();
    told(&mut held, 1, vec![good("a", 1)], &[]);
    let update = told(&mut held, 2, vec![bad("Backend/n/a"), bad("Teapot/n/b"), good("c", 1)], &[]);
    assert_eq!(update.upserts.keys().collect::<Vec<_>>(), [&key("c")]);
    assert_eq!(held.versions()[&key("a").to_string()], "1", "so the controller sends it again");
    assert_eq!(held.answered(Vec::new())[0].key, key("a"));
    assert_eq!(held.named().len(), 2);
    assert_eq!(held.unknown(), ["Teapot/n/b"]);
    // Of other updates it is still to be told.
    told(&mut held, 3, vec![good("c", 2)], &[]);
    assert_eq!(held.answered(vec![refused("c")]).len(), 2);
    told(&mut held, 4, vec![good("a", 2)], &["Teapot/n/b"]);
    assert!(held.answered(Vec::new()).is_empty());
    assert!(held.named().is_empty());
}

#[test]
fn a_snapshot_holds_the_last_good_version_of_what_the_proxy_refuses() {
    let mut held = Held::default();
    let limit = |held: &Held| {
        let snapshot = held.snapshot().unwrap();
        let record = &snapshot.records[0];
        let Resource::Backend(backend) = &*record.resource else { unreachable!() };
        assert_eq!(*record.version, backend.max_connections.unwrap().to_string());
        backend.max_connections.unwrap()
    };
    told(&mut held, 1, vec![good("a", 1)], &[]);
    held.answered(Vec::new());
    told(&mut held, 2, vec![good("a", 2)], &[]);
    assert_eq!(limit(&held), 1, "not answered yet");
    held.answered(vec![refused("a")]);
    told(&mut held, 3, vec![good("a", 3)], &[]);
    held.answered(vec![refused("a")]);
    assert_eq!(limit(&held), 1);
    assert_eq!(held.versions()[&key("a").to_string()], "3", "the controller need not send it again");
    // It is used after all, for instance because what it clashed with is gone.
    held.answered(Vec::new());
    assert_eq!(limit(&held), 3);
}

#[test]
fn a_snapshot_is_taken_up_as_it_was_left() {
    let mut held = Held::default();
    told(&mut held, 7, vec![good("a", 1), good("b", 2)], &[]);
    held.answered(Vec::new());
    let (again, update) = Held::from_snapshot(held.snapshot().unwrap());
    assert_eq!((update.version, update.upserts.len()), (7, 2));
    assert_eq!((again.generation(), again.versions()), (held.generation(), held.versions()));
}

fn pod(name: &str) -> Decoded {
    let workload = Arc::new(Resource::Workload(crate::Workload::default()));
    let key = Key::new(Kind::Workload, "web", name);
    Decoded { name: key.to_string(), version: "1".into(), resource: Ok((key, workload)) }
}

#[test]
fn a_snapshot_holds_no_workloads_and_so_the_controller_is_asked_for_them() {
    let mut held = Held::default();
    told(&mut held, 1, vec![good("a", 1), pod("bff-1")], &[]);
    assert!(held.versions().contains_key("Workload/web/bff-1"));
    let (restarted, update) = Held::from_snapshot(held.snapshot().unwrap());
    assert_eq!(update.upserts.keys().collect::<Vec<_>>(), [&key("a")]);
    assert!(!restarted.versions().contains_key("Workload/web/bff-1"));
}

#[test]
fn a_workload_that_cannot_be_read_any_more_is_nobody() {
    let mut held = Held::default();
    told(&mut held, 1, vec![good("a", 1), pod("bff-1"), pod("bff-2")], &[]);
    let update = told(&mut held, 2, vec![bad("Backend/n/a"), bad("Workload/web/bff-1")], &[]);
    assert_eq!(update.removes, [Key::new(Kind::Workload, "web", "bff-1")]);
    assert!(held.versions().contains_key("Backend/n/a"), "of others the version before stays");
    assert!(!held.versions().contains_key("Workload/web/bff-1"));
}
