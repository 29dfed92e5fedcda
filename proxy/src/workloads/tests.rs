use std::collections::BTreeMap;

use config::{Resources, Update};

use super::*;

fn workload(account: &str, uid: &str, addresses: &[&str]) -> Arc<Resource> {
    Arc::new(Resource::Workload(config::Workload {
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        service_account: account.to_owned(),
        uid: uid.to_owned(),
    }))
}

fn key(name: &str) -> Key {
    Key::new(Kind::Workload, "web", name)
}

/// The configuration and what was made of it.
#[derive(Default)]
struct World {
    store: Store,
    workloads: Workloads,
    then: Resources,
}

impl World {
    fn tell(&mut self, pods: &[(&str, Arc<Resource>)]) {
        let now: Resources = pods.iter().map(|(name, pod)| (key(name), pod.clone())).collect();
        let dirty = self.store.apply(Update::between(1, &self.then, &now));
        self.workloads.compile(&dirty, &self.store);
        self.then = now;
    }

    fn account(&self, address: &str) -> Option<String> {
        let found = self.workloads.find(address.parse().unwrap())?;
        Some(found.peer().workload.as_ref().unwrap().service_account.clone())
    }
}

#[test]
fn an_address_is_its_pods_and_only_while_there_is_one() {
    let mut world = World::default();
    world.tell(&[("a", workload("bff", "1", &["10.0.0.1", "fd00::1"]))]);
    assert_eq!(world.account("10.0.0.1").as_deref(), Some("bff"));
    assert_eq!(world.account("fd00::1").as_deref(), Some("bff"));
    assert_eq!(world.account("10.0.0.2"), None);
    assert_eq!(world.workloads.len(), 1);
    let peer = world.workloads.find("10.0.0.1".parse().unwrap()).unwrap().peer().clone();
    let known = peer.workload.as_ref().unwrap();
    assert_eq!((&*known.namespace, known.assurance), ("web", Assurance::Network));
    assert!(peer.names.is_empty() && peer.digests.is_none(), "an address shows no certificate");
    world.tell(&[("a", workload("bff", "1", &["fd00::1"]))]);
    assert_eq!(world.account("10.0.0.1"), None);
    world.tell(&[]);
    assert_eq!(world.account("fd00::1"), None);
    assert_eq!(world.workloads.len(), 0);
}

#[test]
fn an_ipv4_address_is_the_same_in_both_ways_to_write_it() {
    let mut world = World::default();
    world.tell(&[("a", workload("bff", "1", &["::ffff:10.0.0.1", "10.0.0.1"]))]);
    assert_eq!(world.account("10.0.0.1").as_deref(), Some("bff"));
}

#[test]
fn another_pod_with_the_address_is_not_the_same_pod() {
    let mut world = World::default();
    let address = "10.0.0.1".parse().unwrap();
    world.tell(&[("a", workload("bff", "1", &["10.0.0.1"]))]);
    let pod = world.workloads.find(address).unwrap().clone();
    assert!(world.workloads.is_still(address, &pod));
    // More addresses are no other pod.
    world.tell(&[("a", workload("bff", "1", &["10.0.0.1", "fd00::1"]))]);
    assert!(world.workloads.is_still(address, &pod));
    // One of the same name and account is, as of a StatefulSet.
    world.tell(&[("a", workload("bff", "2", &["10.0.0.1"]))]);
    assert!(!world.workloads.is_still(address, &pod));
    world.tell(&[("b", workload("bff", "1", &["10.0.0.1"]))]);
    assert!(!world.workloads.is_still(address, &pod));
    world.tell(&[]);
    assert!(!world.workloads.is_still(address, &pod));
}

#[test]
fn an_address_that_two_have_is_nobodys_whoever_came_first() {
    let (a, b) = (workload("a", "1", &["10.0.0.1"]), workload("b", "2", &["10.0.0.1"]));
    let mut world = World::default();
    world.tell(&[("a", a.clone())]);
    world.tell(&[("a", a.clone()), ("b", b.clone())]);
    assert_eq!(world.account("10.0.0.1"), None);
    world.tell(&[("a", a)]);
    assert_eq!(world.account("10.0.0.1").as_deref(), Some("a"));
    // Handed over in one update.
    world.tell(&[("b", b)]);
    assert_eq!(world.account("10.0.0.1").as_deref(), Some("b"));
}

proptest::proptest! {
    #[test]
    fn following_changes_is_making_it_anew(
        steps in proptest::collection::vec(
            proptest::collection::btree_map(0_u8..6, (0_u8..3, proptest::collection::vec(0_u8..5, 0..3)), 0..6), 1..12),
    ) {
        let mut world = World::default();
        for step in steps {
            let pods: BTreeMap<String, Arc<Resource>> = step.into_iter().map(|(name, (uid, addresses))| {
                let addresses: Vec<String> = addresses.iter().map(|last| format!("10.0.0.{last}")).collect();
                let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
                (format!("p{name}"), workload(&format!("of-p{name}"), &uid.to_string(), &addresses))
            }).collect();
            let pods: Vec<(&str, Arc<Resource>)> = pods.iter().map(|(name, pod)| (name.as_str(), pod.clone())).collect();
            world.tell(&pods);
            let mut anew = World::default();
            anew.tell(&pods);
            proptest::prop_assert_eq!(world.workloads.len(), anew.workloads.len());
            for last in 0_u8..5 {
                let address = format!("10.0.0.{last}").parse().unwrap();
                proptest::prop_assert_eq!(world.workloads.find(address), anew.workloads.find(address));
            }
        }
    }
}

/// `cargo test --release -p fairway-proxy pods_cost -- --ignored --nocapture`.
#[test]
#[ignore = "prints a time, proves nothing"]
fn what_a_change_among_10000_pods_costs() {
    let ip = |n: usize| format!("10.{}.{}.{}", n >> 16, (n >> 8) & 255, n & 255);
    let mut world = World::default();
    let mut now: Resources =
        (0..10_000).map(|n| (key(&format!("p{n}")), workload("bff", "1", &[&ip(n)]))).collect();
    let dirty = world.store.apply(Update::between(1, &Resources::new(), &now));
    world.workloads.compile(&dirty, &world.store);
    let mut least = std::time::Duration::MAX;
    for round in 0..1000 {
        let then = now.clone();
        now.insert(key(&format!("p{round}")), workload("bff", "2", &[&ip(round)]));
        let update = Update::between(1, &then, &now);
        let published = world.workloads.clone();
        let begun = std::time::Instant::now();
        let dirty = world.store.apply(update);
        world.workloads.compile(&dirty, &world.store);
        least = least.min(begun.elapsed());
        drop(published);
    }
    println!("{least:?} for one of {}", world.workloads.len());
}
