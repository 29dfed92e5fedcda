//! What a change of one object costs the controller, from the event of a watch to the statuses that differ: it must not
//! depend on how many routes there are.
//!
//! `cargo test -p fairway-controller --lib cluster::cost -- --nocapture` prints the table. Counted are allocations, which
//! are the same on every machine, and the least CPU time of many changes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use config::Generation;
use config::identity::{GatewayRef, ProxyId, Role};
use config::xds::{Hub, ProxyState};
use serde_json::{Value, json};

use super::control::View;
use super::provision::Refusals;
use super::state::State;
use super::status::Said;
use super::watch::KINDS;
use super::watched::{Watchable, Watched};
use crate::translate::{differs, referenced};
use crate::{ObjectKey, ObjectKind, Options, Resources, Translator, api};

/// Counts allocations of the current thread.
struct Counting;

thread_local! {
    static COUNT: Cell<(u64, i64)> = const { Cell::new((0, 0)) };
}

fn note(count: u64, bytes: i64) {
    // At the end of a thread there is nothing to note in.
    _ = COUNT.try_with(|cell| {
        let (allocations, held) = cell.get();
        cell.set((allocations + count, held + bytes));
    });
}

#[allow(unsafe_code, reason = "an allocator is")]
#[allow(clippy::cast_possible_wrap, reason = "nothing is that large")]
// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(1, layout.size() as i64);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(0, -(layout.size() as i64));
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The controller without its I/O.
struct Controller {
    state: State,
    translator: Translator,
    followed: Resources,
    hub: Hub,
    said: Said,
    revision: u64,
}

impl Controller {
    fn new(routes: usize) -> Self {
        let state = State::default();
        KINDS.iter().for_each(|kind| state.absent(kind.kind));
        let mut controller = Self {
            state,
            translator: Translator::new(Options::default()),
            followed: Resources::default(),
            hub: Hub::new(),
            said: Said::default(),
            revision: 0,
        };
        controller.fill(routes);
        controller.work();
        controller
    }

    fn fill(&mut self, routes: usize) {
        self.apply::<api::GatewayClass>(json!({
            "metadata": { "name": "fairway" }, "spec": { "controllerName": crate::CONTROLLER_NAME } }));
        self.apply::<api::Namespace>(json!({ "metadata": { "name": "shop" } }));
        self.apply::<api::Secret>(secret(0));
        self.apply::<api::Gateway>(gateway(0));
        for index in 0..routes {
            self.apply::<api::Service>(service(index, 0));
            self.apply::<api::EndpointSlice>(endpoints(index, 0));
            self.apply::<api::HttpRoute>(route(index, 0));
        }
        // Enough for the two kinds to be rivals.
        (0..5).for_each(|index| self.apply::<api::GrpcRoute>(grpc_route(index)));
    }

    fn apply<T: Watchable>(&mut self, object: Value) {
        self.take::<T>(watched(object));
    }

    fn take<T: Watchable>(&mut self, mut object: Watched<T>) {
        self.revision += 1;
        object.meta.resource_version = Some(self.revision.to_string());
        assert_eq!(self.state.apply(object), None);
    }

    /// Everything that follows from changes; returns the objects whose status is another.
    fn work(&mut self) -> usize {
        let Some((resources, revision)) = self.state.take() else { return 0 };
        if differs(&self.followed, &resources) {
            referenced(&resources);
            self.followed = resources.clone();
        }
        let translation = self.translator.translate(&resources);
        let generation = Generation::new(1, revision);
        self.hub.publish(generation, &translation.resources);
        let view = View { resources, translation, generation };
        self.said.follow(&view, &[proxy(generation)], &Refusals::new(), &[], Instant::now().into()).len()
    }
}

fn proxy(generation: Generation) -> ProxyState {
    let gateway = GatewayRef::new(Role::Gateway, "infra", "edge");
    let proxy = ProxyId { gateway, pod: "edge-1".into() };
    ProxyState { proxy, generation: Some(generation), rejections: [].into(), is_connected: true }
}

fn watched<T: Watchable>(object: Value) -> Watched<T> {
    serde_json::from_value(object).unwrap()
}

fn gateway(version: usize) -> Value {
    let all = json!({ "namespaces": { "from": "All" } });
    let mut listeners = vec![
        json!({ "name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": all }),
        json!({ "name": "https", "port": 443, "protocol": "HTTPS", "allowedRoutes": all,
            "tls": { "certificateRefs": [{ "name": "edge" }] } }),
    ];
    if version % 2 == 1 {
        listeners.push(json!({ "name": "more", "port": 8080, "protocol": "HTTP" }));
    }
    json!({
        "metadata": { "name": "edge", "namespace": "infra", "generation": version },
        "spec": { "gatewayClassName": "fairway", "listeners": listeners },
    })
}

fn secret(version: usize) -> Value {
    thread_local! {
        static MADE: [rcgen::CertifiedKey<rcgen::KeyPair>; 2] =
            [0, 1].map(|_| rcgen::generate_simple_self_signed(["edge.example.com".to_owned()]).unwrap());
    }
    MADE.with(|made| {
        let made = &made[version % 2];
        json!({
            "metadata": { "name": "edge", "namespace": "infra" }, "type": "kubernetes.io/tls",
            "stringData": { "tls.crt": made.cert.pem(), "tls.key": made.signing_key.serialize_pem() },
        })
    })
}

fn route(index: usize, version: usize) -> Value {
    json!({
        "metadata": { "name": format!("route-{index}"), "namespace": "shop", "generation": version },
        "spec": {
            "parentRefs": [
                { "name": "edge", "namespace": "infra", "sectionName": "http" },
                { "name": "edge", "namespace": "infra", "sectionName": "https" },
            ],
            "hostnames": [format!("host-{index}.example.com")],
            "rules": [{
                "matches": [{ "path": { "type": "PathPrefix", "value": format!("/{version}") } }],
                "backendRefs": [{ "name": format!("service-{index}"), "port": 80 }],
            }],
        },
    })
}

fn grpc_route(index: usize) -> Value {
    json!({
        "metadata": { "name": format!("grpc-{index}"), "namespace": "shop" },
        "spec": {
            "parentRefs": [{ "name": "edge", "namespace": "infra" }],
            "hostnames": [format!("grpc-{index}.example.com")],
            "rules": [{ "backendRefs": [{ "name": format!("service-{index}"), "port": 80 }] }],
        },
    })
}

fn service(index: usize, version: usize) -> Value {
    let protocol = (version % 2 == 1).then_some("kubernetes.io/h2c");
    json!({
        "metadata": { "name": format!("service-{index}"), "namespace": "shop" },
        "spec": { "ports": [{ "name": "http", "port": 80, "appProtocol": protocol }] },
    })
}

fn endpoints(index: usize, version: usize) -> Value {
    let name = format!("service-{index}");
    let address = format!("10.0.{}.{}", version % 250, index % 250);
    json!({
        "metadata": { "name": name, "namespace": "shop", "labels": { "kubernetes.io/service-name": name } },
        "addressType": "IPv4", "ports": [{ "name": "http", "port": 8080 }], "endpoints": [{ "addresses": [address] }],
    })
}

/// A change of the object of a number; the second number grows with each change.
type Edit = fn(&mut Controller, usize, usize) -> Cost;

/// What something cost.
#[derive(Debug, Clone, Copy)]
struct Cost {
    time: Duration,
    allocations: u64,
    statuses: usize,
}

fn edit<T: Watchable>(controller: &mut Controller, object: Value) -> Cost {
    // What the API server sent is decoded: that costs what the object does.
    let object = watched::<T>(object);
    measure(controller, |controller| controller.take(object))
}

fn delete(controller: &mut Controller, index: usize) -> Cost {
    let key = ObjectKey::new(ObjectKind::HttpRoute, "shop", format!("route-{index}"));
    let cost = measure(controller, |controller| controller.state.delete(&key, ""));
    controller.apply::<api::HttpRoute>(route(index, 0));
    controller.work();
    cost
}

fn measure(controller: &mut Controller, change: impl FnOnce(&mut Controller)) -> Cost {
    let (before, _) = COUNT.get();
    let began = Instant::now();
    change(controller);
    let statuses = controller.work();
    let time = began.elapsed();
    Cost { time, allocations: COUNT.get().0 - before, statuses }
}

const EDITS: &[(&str, Edit)] = &[
    ("HTTPRoute", |c, index, version| edit::<api::HttpRoute>(c, route(index, version))),
    ("HTTPRoute deleted", |c, index, _| delete(c, index)),
    ("Service", |c, index, version| edit::<api::Service>(c, service(index, version))),
    ("EndpointSlice", |c, index, version| edit::<api::EndpointSlice>(c, endpoints(index, version))),
    ("Secret", |c, _, version| edit::<api::Secret>(c, secret(version))),
    ("Gateway", |c, _, version| edit::<api::Gateway>(c, gateway(version))),
];

/// The least of many changes, all over the objects.
fn cost(controller: &mut Controller, routes: usize, edit: Edit) -> Cost {
    let costs = (1..=60).map(|version| edit(controller, version * 7 % routes, version));
    costs.reduce(|a, b| Cost { time: a.time.min(b.time), ..b }).unwrap()
}

#[test]
fn a_change_of_one_object_costs_the_same_at_ten_times_the_routes() {
    const FEW: usize = 500;
    let (mut few, mut many) = (Controller::new(FEW), Controller::new(10 * FEW));
    let (mut table, mut worst) = (String::new(), 0.0_f64);
    for (name, edit) in EDITS {
        let (a, b) = (cost(&mut few, FEW, *edit), cost(&mut many, 10 * FEW, *edit));
        let times = b.time.as_secs_f64() / a.time.as_secs_f64();
        #[allow(clippy::cast_precision_loss, reason = "small numbers")]
        let allocations = b.allocations as f64 / a.allocations as f64;
        writeln!(
            table,
            "{name:>18}: {:>9.1?} → {:>9.1?} ({times:.2} ×), {:>5} → {:>5} allocations ({allocations:.2} ×), {} statuses",
            a.time, b.time, a.allocations, b.allocations, b.statuses
        )
        .unwrap();
        worst = worst.max(allocations);
    }
    println!("{table}");
    assert!(worst <= 1.5, "allocations grow with the number of routes:\n{table}");
}

#[test]
fn the_memory_of_a_route_is_a_few_kilobytes() {
    let (_, before) = COUNT.get();
    let controller = Controller::new(2_000);
    let (_, after) = COUNT.get();
    let each = (after - before) / 2_000;
    println!("{each} bytes for a route with its Service and EndpointSlice");
    assert!((1..12_000).contains(&each), "{each} bytes");
    drop(controller);
}
