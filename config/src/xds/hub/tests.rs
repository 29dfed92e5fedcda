use super::*;
use crate::identity::{GatewayRef, Role};
use crate::{Listener, Protocol, Resource, Scope};

fn proxy(gateway: &str, pod: &str) -> ProxyId {
    ProxyId { gateway: GatewayRef::new(Role::Gateway, "n", gateway), pod: pod.into() }
}

fn resources(listeners: &[(&str, u16)]) -> Resources {
    let listener = |port| {
        let (scope, protocol) = (Scope::Gateway, Protocol::Http);
        Arc::new(Resource::Listener(Listener {
            address: None,
            port,
            protocol,
            hostname: None,
            tls: None,
            backend_certificate: None,
            traffic: None,
            attached: Vec::new(),
            scope,
        }))
    };
    listeners
        .iter()
        .map(|(name, port)| (Key::new(crate::Kind::Listener, "n", *name), listener(*port)))
        .collect()
}

fn generation(revision: u64) -> Generation {
    Generation::new(0, revision)
}

fn names(batch: &Batch) -> Vec<String> {
    batch.upserts.iter().map(|entry| entry.key.to_string()).collect()
}

fn state(hub: &Hub, proxy: &ProxyId) -> ProxyState {
    hub.proxies().into_iter().find(|state| state.proxy == *proxy).unwrap()
}

#[tokio::test]
async fn a_proxy_is_told_only_what_changed_for_its_gateway() {
    let hub = Hub::new();
    let seat = hub.connect(&proxy("a", "1")).unwrap();
    assert!(seat.whole(None).unwrap().is_none(), "nothing is published");
    hub.publish(generation(1), resources(&[("a/l", 80), ("b/l", 80)]));
    let whole = seat.whole(None).unwrap().unwrap();
    assert_eq!(names(&whole), ["Listener/n/a/l"]);
    seat.answered(&whole, Vec::new()).unwrap();
    hub.publish(generation(2), resources(&[("a/l", 80), ("b/l", 81)]));
    assert!(seat.news().unwrap().is_none());
    assert_eq!(state(&hub, &proxy("a", "1")).generation, Some(generation(2)), "not concerned, so up to date");
    hub.publish(generation(3), resources(&[("a/m", 80), ("b/l", 81)]));
    let news = seat.news().unwrap().unwrap();
    assert_eq!((names(&news), news.removes.len()), (vec!["Listener/n/a/m".to_owned()], 1));
    assert_eq!(state(&hub, &proxy("a", "1")).generation, Some(generation(2)), "not before it answers");
    // What happens while an update is on its way is the next update.
    hub.publish(generation(4), resources(&[("a/n", 80), ("b/l", 81)]));
    seat.answered(&news, Vec::new()).unwrap();
    assert_eq!(state(&hub, &proxy("a", "1")).generation, Some(generation(3)));
    let news = seat.news().unwrap().unwrap();
    assert_eq!((names(&news), news.removes.len()), (vec!["Listener/n/a/n".to_owned()], 1));
    seat.answered(&news, Vec::new()).unwrap();
    assert_eq!(state(&hub, &proxy("a", "1")).generation, Some(generation(4)));
}

#[tokio::test]
async fn a_change_taken_back_before_it_was_told_is_told_as_it_is() {
    let hub = Hub::new();
    let seat = hub.connect(&proxy("a", "1")).unwrap();
    hub.publish(generation(1), resources(&[("a/l", 80)]));
    let whole = seat.whole(None).unwrap().unwrap();
    seat.answered(&whole, Vec::new()).unwrap();
    hub.publish(generation(2), resources(&[]));
    hub.publish(generation(3), resources(&[("a/l", 80)]));
    let news = seat.news().unwrap().unwrap();
    assert_eq!((names(&news), news.removes.len()), (vec!["Listener/n/a/l".to_owned()], 0));
}

#[tokio::test]
async fn what_is_older_than_the_proxy_has_waits() {
    let hub = Hub::new();
    let mut seat = hub.connect(&proxy("a", "1")).unwrap();
    hub.publish(generation(5), resources(&[("a/l", 80)]));
    assert!(seat.whole(Some(generation(6))).unwrap().is_none());
    seat.changed().await;
    hub.publish(generation(6), resources(&[("a/l", 80)]));
    seat.changed().await;
    assert!(seat.whole(Some(generation(6))).unwrap().is_some());
    // Of two calls the later is believed, whatever it calls itself.
    hub.publish(generation(1), resources(&[]));
    assert_eq!(seat.whole(None).unwrap().unwrap().generation, generation(6));
}

#[tokio::test]
async fn a_newer_stream_of_a_proxy_replaces_the_older_one() {
    let hub = Hub::new();
    hub.publish(generation(1), resources(&[]));
    let mut old = hub.connect(&proxy("a", "1")).unwrap();
    old.changed().await;
    let new = hub.connect(&proxy("a", "1")).unwrap();
    old.changed().await;
    assert_eq!(old.news().err(), Some(seat::Ended::Replaced));
    drop(old);
    assert!(state(&hub, &proxy("a", "1")).is_connected);
    assert!(new.whole(None).unwrap().is_some());
    drop(new);
    assert!(!state(&hub, &proxy("a", "1")).is_connected);
}

#[tokio::test]
async fn a_closed_hub_sends_proxies_elsewhere() {
    let hub = Hub::new();
    let mut seat = hub.connect(&proxy("a", "1")).unwrap();
    seat.changed().await;
    hub.set_open(false);
    seat.changed().await;
    assert_eq!(seat.news().err(), Some(seat::Ended::Closed));
    assert_eq!(hub.connect(&proxy("a", "2")).err(), Some(seat::Ended::Closed));
    hub.set_open(true);
    assert!(hub.connect(&proxy("a", "2")).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_is_gone_is_listed_for_a_minute() {
    let hub = Hub::new();
    drop(hub.connect(&proxy("a", "1")).unwrap());
    tokio::time::advance(LISTED - Duration::from_secs(1)).await;
    assert_eq!(hub.proxies().len(), 1);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(hub.proxies(), []);
}

#[tokio::test]
async fn a_proxy_that_does_not_answer_keeps_nobody_waiting() {
    let hub = Hub::new();
    let slow = hub.connect(&proxy("a", "slow")).unwrap();
    let fast = hub.connect(&proxy("a", "fast")).unwrap();
    hub.publish(generation(1), resources(&[("a/l", 1)]));
    for seat in [&slow, &fast] {
        let whole = seat.whole(None).unwrap().unwrap();
        seat.answered(&whole, Vec::new()).unwrap();
    }
    for revision in 2..10_000 {
        let name = format!("a/{revision}");
        hub.publish(generation(revision), resources(&[(&name, 1)]));
        let news = fast.news().unwrap().unwrap();
        fast.answered(&news, Vec::new()).unwrap();
    }
    assert_eq!(state(&hub, &proxy("a", "fast")).generation, Some(generation(9_999)));
    assert_eq!(state(&hub, &proxy("a", "slow")).generation, Some(generation(1)));
    assert_eq!(slow.news().err(), Some(seat::Ended::Behind));
}
