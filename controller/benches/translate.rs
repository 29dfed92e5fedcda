//! What a translation costs at 5,000 routes: from nothing, after one route changed, and after a Service
//! changed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use fairway_controller::{Object, Options, Resources, Translator, api};
use serde_json::{Value, json};

fn typed<T: serde::de::DeserializeOwned + Into<Object>>(value: Value) -> Object {
    serde_json::from_value::<T>(value).map(Into::into).expect("the bench's own objects are well-formed")
}

fn route(index: usize, path: &str) -> Object {
    let service = format!("service-{}", index % 500);
    typed::<api::HttpRoute>(json!({
        "metadata": {"name": format!("route-{index}"), "namespace": "shop", "generation": 1},
        "spec": {
            "parentRefs": [{"name": "edge", "namespace": "infra"}],
            "hostnames": [format!("host-{index}.example.com")],
            "rules": [
                {"matches": [{"path": {"type": "PathPrefix", "value": path}}],
                 "filters": [{"type": "RequestHeaderModifier",
                     "requestHeaderModifier": {"set": [{"name": "X-Route", "value": "one"}]}}],
                 "backendRefs": [{"name": service, "port": 80}]},
                {"matches": [{"path": {"type": "Exact", "value": "/exact"}, "method": "GET"}],
                 "backendRefs": [{"name": service, "port": 80, "weight": 9}, {"name": "service-1", "port": 80}]},
            ],
        },
    }))
}

fn service(index: usize, app_protocol: Option<&str>) -> [Object; 2] {
    let name = format!("service-{index}");
    [
        typed::<api::Service>(json!({"metadata": {"name": name, "namespace": "shop"},
            "spec": {"ports": [{"name": "http", "port": 80, "appProtocol": app_protocol}]}})),
        typed::<api::EndpointSlice>(json!({"metadata": {"name": name, "namespace": "shop",
            "labels": {"kubernetes.io/service-name": name}}, "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080}],
            "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"]}]})),
    ]
}

fn objects(routes: usize) -> Vec<Object> {
    let mut objects = vec![
        typed::<api::GatewayClass>(json!({"metadata": {"name": "fairway"},
            "spec": {"controllerName": "fairway.dev/controller"}})),
        typed::<api::Gateway>(json!({"metadata": {"name": "edge", "namespace": "infra"}, "spec": {
            "gatewayClassName": "fairway", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP",
            "allowedRoutes": {"namespaces": {"from": "All"}}}]}})),
    ];
    objects.extend((0..500).flat_map(|index| service(index, None)));
    objects.extend((0..routes).map(|index| route(index, "/path")));
    objects
}

fn translate(c: &mut Criterion) {
    let objects = objects(5_000);
    let resources = Resources::collect(objects.iter().cloned());
    let with = |extra: Vec<Object>| Resources::collect(objects.iter().cloned().chain(extra));
    let one_route = with(vec![route(2_500, "/other")]);
    let one_service = with(service(250, Some("kubernetes.io/h2c")).into());

    c.bench_function("collect 5,000 routes", |b| {
        b.iter(|| Resources::collect(black_box(&objects).iter().cloned()));
    });
    c.bench_function("translate 5,000 routes from nothing", |b| {
        b.iter(|| Translator::new(Options::default()).translate(black_box(&resources)));
    });
    for (name, other) in [("one route", &one_route), ("one Service", &one_service)] {
        let mut translator = Translator::new(Options::default());
        let mut turn = false;
        c.bench_function(&format!("translate 5,000 routes after {name} changed"), |b| {
            b.iter(|| {
                turn = !turn;
                translator.translate(if turn { other } else { &resources })
            });
        });
    }
    let mut translator = Translator::new(Options::default());
    let (before, after) = (translator.translate(&resources), translator.translate(&one_route));
    c.bench_function("difference of 5,000 routes after one changed", |b| {
        b.iter(|| config::Update::between(1, black_box(&before.resources), black_box(&after.resources)));
    });
}

criterion_group!(benches, translate);
criterion_main!(benches);
