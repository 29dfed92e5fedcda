//! A captured Service in a cluster that is made of what matters: Kubernetes writes EndpointSlices some time after
//! something changed, the admission policy makes them step aside, clients select as kube-proxy does. Whatever happens in
//! whatever order, clients find something to talk to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use config::Protocol;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::objects;
use super::pods::pods;
use super::step::{Memory, Phase, Seen, Write, step};
use crate::api::{EndpointSlice, Service};
use crate::resources::Named as _;
use crate::translate::{CAPTURED, FailureMode, OfService, Plan, Port};

/// What can happen.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// The controller looks and does the next step.
    Look,
    /// Kubernetes writes the slices of the Service.
    Sync,
    /// Of the shadow.
    SyncShadow,
    /// Somebody wants it captured, or no longer.
    Want(bool),
    Mode(FailureMode),
    /// Somebody wants its pods locked, or no longer.
    Lock(bool),
    /// A pod becomes ready, or not.
    Pod(usize, bool),
    /// A pod of the waypoint.
    Waypoint(usize, bool),
    /// It has heard of the ports.
    Answer(usize),
    /// Another replica leads: nothing is remembered.
    Restart,
    Wait(u64),
}

struct Cluster {
    service: Service,
    shadow: Option<Service>,
    theirs: Vec<EndpointSlice>,
    of_shadow: Vec<EndpointSlice>,
    own: BTreeMap<String, EndpointSlice>,
    pods: [bool; 3],
    waypoint: [(bool, bool); 2],
    plan: Plan,
    /// Nobody gets in at the pods but the waypoint.
    is_locked: bool,
    memory: Memory,
    now: Instant,
}

fn service() -> Service {
    serde_json::from_value(json!({
        "metadata": { "name": "cart", "namespace": "shop", "uid": "u" },
        "spec": { "clusterIP": "10.0.0.1", "ipFamilies": ["IPv4"], "selector": { "app": "cart" },
            "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }, { "name": "dns", "port": 53, "protocol": "UDP" }] },
    }))
    .unwrap()
}

/// As Kubernetes and the policy make it.
fn kubernetes(of: &Service, pods: [bool; 3]) -> EndpointSlice {
    let label = |name: &str| of.label(name).map(str::to_owned);
    let is_captured = label(CAPTURED).is_some();
    let is_open = label("fairway.dev/capture-failure-mode").as_deref() == Some("open");
    let endpoints: Vec<Value> = pods.iter().enumerate().map(|(at, ready)| {
        let (r, s, t) = if is_captured { (false, is_open && *ready, is_open) } else { (*ready, *ready, false) };
        json!({ "addresses": [format!("10.1.0.{at}")], "conditions": { "ready": r, "serving": s, "terminating": t } })
    }).collect();
    serde_json::from_value(json!({
        "metadata": { "name": format!("{}-1", of.name()), "namespace": "shop", "labels": of.metadata.labels },
        "addressType": "IPv4",
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }, { "name": "dns", "port": 53, "protocol": "UDP" }],
        "endpoints": endpoints,
    }))
    .unwrap()
}

impl Cluster {
    fn new(mode: FailureMode) -> Self {
        let port = Port { name: Some("http".into()), port: 80, listen: 20_001, protocol: Protocol::Http };
        let plan = Plan {
            waypoint: ("shop".into(), "waypoint".into()),
            is_wanted: false,
            ports: vec![port],
            failure_mode: mode,
            is_locked: false,
        };
        let pods = [true, true, true];
        Self {
            theirs: vec![kubernetes(&service(), pods)],
            service: service(),
            shadow: None,
            of_shadow: Vec::new(),
            own: BTreeMap::new(),
            pods,
            waypoint: [(true, true), (true, true)],
            plan,
            is_locked: false,
            memory: Memory::default(),
            now: Instant::now(),
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Look => drop(self.look()),
            Event::Sync => self.theirs = vec![kubernetes(&self.service, self.pods)],
            Event::SyncShadow => {
                self.of_shadow = self.shadow.iter().map(|shadow| kubernetes(shadow, self.pods)).collect();
            }
            Event::Want(is_wanted) => self.plan.is_wanted = is_wanted,
            Event::Mode(mode) => self.plan.failure_mode = mode,
            Event::Lock(is_locked) => self.plan.is_locked = is_locked,
            Event::Pod(at, ready) => self.pods[at] = ready,
            Event::Waypoint(at, ready) => self.waypoint[at].0 = ready,
            Event::Answer(at) => self.waypoint[at].1 = true,
            Event::Restart => self.memory = Memory::default(),
            Event::Wait(millis) => self.now += Duration::from_millis(millis),
        }
    }

    fn look(&mut self) -> Phase {
        let endpoints: Vec<Value> = self.waypoint.iter().enumerate().map(|(at, (ready, _))| {
            json!({ "addresses": [format!("10.2.0.{at}")], "conditions": { "ready": ready, "serving": ready },
                "targetRef": { "name": format!("w{at}") } })
        }).collect();
        let of_waypoint: EndpointSlice = serde_json::from_value(json!({
            "metadata": { "name": "w", "namespace": "shop" }, "addressType": "IPv4", "ports": [], "endpoints": endpoints,
        })).unwrap();
        let arcs = |slices: &[EndpointSlice]| slices.iter().cloned().map(Arc::new).collect::<Vec<_>>();
        let own = self.own.values().cloned().map(Arc::new).collect();
        let slices = OfService::new(arcs(&self.theirs), arcs(&self.of_shadow), own);
        let answers = |name: &str| self.waypoint[usize::from(name == "w1")].1;
        let pods = pods(&[Arc::new(of_waypoint)], slices.own(), answers);
        let seen = Seen {
            service: &self.service,
            plan: &self.plan,
            slices: &slices,
            shadow: self.shadow.as_ref(),
            pods: &pods,
            is_locked: self.is_locked,
            is_acting: true,
            now: self.now,
        };
        let done = step(&seen, &mut self.memory);
        done.writes.into_iter().for_each(|write| self.write(write));
        // As `lock` does, without its time of grace.
        let is_captured = matches!(done.phase, Phase::Captured { .. });
        self.is_locked = self.plan.is_locked && self.plan.is_wanted && (self.is_locked || is_captured);
        done.phase
    }

    fn write(&mut self, write: Write) {
        match write {
            Write::Apply(object) if object["kind"] == "Service" => {
                self.shadow = Some(serde_json::from_value(object).unwrap());
            }
            Write::Apply(slice) => {
                let slice: EndpointSlice = serde_json::from_value(slice).unwrap();
                self.own.insert(slice.name().to_owned(), slice);
            }
            Write::Label(patch) => {
                let labels = self.service.metadata.labels.get_or_insert_default();
                for (name, value) in patch["metadata"]["labels"].as_object().unwrap() {
                    match value.as_str() {
                        Some(value) => drop(labels.insert(name.clone(), value.to_owned())),
                        None => drop(labels.remove(name)),
                    }
                }
            }
            Write::Delete("Service", _) => self.shadow = None,
            Write::Delete(_, name) => drop(self.own.remove(&name)),
        }
    }

    /// The addresses that clients of a port are led to, as kube-proxy selects them (KEP-1669).
    fn selected(&self, port: &str) -> Vec<String> {
        let has_port = |slice: &&EndpointSlice| {
            slice.ports.iter().flatten().any(|one| one.name.as_deref() == Some(port))
        };
        let all = || self.theirs.iter().chain(self.own.values()).filter(has_port);
        let those = |wanted: fn(bool, bool, bool) -> bool| -> Vec<String> {
            all()
                .flat_map(|slice| slice.endpoints.iter().flatten())
                .filter(|endpoint| {
                    let conditions = endpoint.conditions.clone().unwrap_or_default();
                    let is = |condition: Option<bool>| condition == Some(true);
                    wanted(is(conditions.ready), is(conditions.serving), is(conditions.terminating))
                })
                .flat_map(|endpoint| endpoint.addresses.clone())
                .collect()
        };
        let ready = those(|ready, _, _| ready);
        if ready.is_empty() { those(|_, serving, terminating| serving && terminating) } else { ready }
    }

    /// Lets everything come to rest.
    fn settle(&mut self) -> Phase {
        let mut phase = Phase::Releasing;
        for _ in 0..40 {
            self.happens(Event::Sync);
            self.happens(Event::SyncShadow);
            phase = self.look();
            self.happens(Event::Wait(2_000));
        }
        phase
    }
}

const NAMES: [&str; 2] = ["http", "dns"];

#[test]
fn a_service_is_captured_and_let_go_without_a_moment_of_nobody() {
    for mode in [FailureMode::Open, FailureMode::Closed] {
        let mut cluster = Cluster::new(mode);
        cluster.happens(Event::Want(true));
        let phase = cluster.settle();
        assert_eq!(phase, Phase::Captured { usable: 2, pods: 2, failure_mode: mode, is_locked: false });
        assert_eq!(cluster.selected("http"), ["10.2.0.0", "10.2.0.1"]);
        assert_eq!(
            cluster.selected("dns"),
            ["10.1.0.0", "10.1.0.1", "10.1.0.2"],
            "no waypoint takes datagrams"
        );
        cluster.happens(Event::Want(false));
        assert_eq!(cluster.settle(), Phase::Released);
        assert_eq!(cluster.selected("http"), ["10.1.0.0", "10.1.0.1", "10.1.0.2"]);
        assert!(cluster.own.is_empty() && cluster.shadow.is_none());
        let labels = cluster.service.metadata.labels.unwrap_or_default();
        assert!(labels.is_empty(), "{labels:?}");
    }
}

#[test]
fn nothing_is_labelled_before_every_pod_of_the_waypoint_listens() {
    let mut cluster = Cluster::new(FailureMode::Closed);
    cluster.waypoint[1].1 = false;
    cluster.happens(Event::Want(true));
    for _ in 0..5 {
        cluster.happens(Event::Sync);
        cluster.happens(Event::SyncShadow);
        assert!(matches!(cluster.look(), Phase::Pending(..)));
        cluster.happens(Event::Wait(1_000));
    }
    assert_eq!(cluster.service.label(CAPTURED), None);
    assert!(cluster.own.is_empty());
    // One that never does is left out in the end.
    cluster.settle();
    assert_eq!(cluster.selected("http"), ["10.2.0.0"]);
}

#[test]
fn without_a_usable_waypoint_pods_serve_in_open_mode_and_nobody_in_closed() {
    for (mode, selected) in [(FailureMode::Open, 3), (FailureMode::Closed, 0)] {
        let mut cluster = Cluster::new(mode);
        cluster.happens(Event::Want(true));
        cluster.settle();
        cluster.happens(Event::Waypoint(0, false));
        cluster.happens(Event::Waypoint(1, false));
        cluster.look();
        assert_eq!(cluster.selected("http").len(), selected, "{mode:?}");
        // In open mode a pod that is not ready gets none of it.
        cluster.happens(Event::Pod(0, false));
        cluster.happens(Event::Sync);
        assert_eq!(cluster.selected("http").len(), selected.saturating_sub(1), "{mode:?}");
        cluster.happens(Event::Waypoint(1, true));
        cluster.settle();
        assert_eq!(cluster.selected("http"), ["10.2.0.1"]);
    }
}

#[test]
fn a_new_port_does_not_take_the_others_away() {
    let mut cluster = Cluster::new(FailureMode::Closed);
    cluster.happens(Event::Want(true));
    cluster.settle();
    let port = json!({ "name": "admin", "port": 81 });
    let ports = cluster.service.spec.as_mut().unwrap().ports.as_mut().unwrap();
    ports.push(serde_json::from_value(port).unwrap());
    cluster.plan.ports.push(Port {
        name: Some("admin".into()),
        port: 81,
        listen: 20_002,
        protocol: Protocol::Http,
    });
    cluster.waypoint = [(true, false), (true, false)];
    cluster.look();
    assert_eq!(cluster.selected("http").len(), 2);
    assert_eq!(cluster.selected("admin").len(), 0);
    cluster.waypoint = [(true, true), (true, true)];
    cluster.look();
    assert_eq!((cluster.selected("http").len(), cluster.selected("admin").len()), (2, 2));
}

#[test]
fn the_shadow_has_a_name_of_its_own_and_none_of_the_users_labels() {
    let mut service = service();
    service.metadata.labels = Some(BTreeMap::from([("team".to_owned(), "shop".to_owned())]));
    let shadow = objects::shadow(&service);
    let name = shadow["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("cart-mesh-") && name.len() <= 63, "{name}");
    assert_eq!(shadow["metadata"]["labels"], json!({ "fairway.dev/shadow-of": "cart" }));
    service.metadata.name = Some("x".repeat(63));
    let long = objects::shadow(&service);
    assert!(long["metadata"]["name"].as_str().unwrap().len() <= 63);
    assert!(objects::is_shadow_current(&service, &serde_json::from_value(long).unwrap()));
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => Just(Event::Look),
        4 => Just(Event::Sync),
        4 => Just(Event::SyncShadow),
        2 => any::<bool>().prop_map(Event::Want),
        1 => any::<bool>().prop_map(|open| Event::Mode(if open { FailureMode::Open } else { FailureMode::Closed })),
        1 => any::<bool>().prop_map(Event::Lock),
        2 => (0_usize..3, any::<bool>()).prop_map(|(at, ready)| Event::Pod(at, ready)),
        1 => (0_usize..2, any::<bool>()).prop_map(|(at, ready)| Event::Waypoint(at, ready)),
        2 => (0_usize..2).prop_map(Event::Answer),
        1 => Just(Event::Restart),
        3 => (0_u64..12_000).prop_map(Event::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// In every order of a thousand events: as long as a waypoint stays usable and a pod ready, clients find somebody, and
    /// only somebody who is there; and in the end they are where they shall be.
    #[test]
    fn no_order_of_events_leaves_clients_with_nobody(events in prop::collection::vec(event(), 1000)) {
        let mut cluster = Cluster::new(FailureMode::Closed);
        for event in events {
            // One of each stays: what becomes of clients without is another test.
            if matches!(event, Event::Pod(0, _) | Event::Waypoint(0, _)) {
                continue;
            }
            cluster.happens(event);
            for name in NAMES {
                let selected = cluster.selected(name);
                prop_assert!(!selected.is_empty(), "{event:?} left nobody for {name}");
            }
            let is_pod = |address: &String| address.starts_with("10.1.");
            prop_assert!(!cluster.is_locked || !cluster.selected("http").iter().any(is_pod), "led to locked pods");
            let led = cluster.own.values().any(|slice| slice.name() == "cart-wp-4");
            prop_assert!(led || cluster.service.label(CAPTURED).is_none(), "labelled without slices");
        }
        for is_wanted in [true, false] {
            cluster.happens(Event::Want(is_wanted));
            cluster.waypoint = [(true, true), (true, true)];
            let phase = cluster.settle();
            let is_right = if is_wanted { matches!(phase, Phase::Captured { usable: 2, .. }) } else { phase == Phase::Released };
            prop_assert!(is_right, "{phase:?}");
        }
    }
}
