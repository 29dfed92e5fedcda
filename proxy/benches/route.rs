//! What a request pays for finding its rule, and an update for being compiled, at 10 to 10,000 routes.
//!
//! `ratio/…` is the figure to look at. `find/…/few` asks for the same ten targets at every size: what the structure costs. `find/…/all` asks for a random
//! one of all: what the caches of the machine add. `apply/…` changes one of so many routes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::hint::black_box;
use std::sync::Arc;

use config::{
    Action, Backend, BackendRef, HttpMatch, HttpRoute, HttpRule, Key, Kind, Listener, Parent, PathMatch,
    PolicySet, Protocol, Resource, Resources, Scope, Target, Update, WeightedBackend,
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fairway_proxy::compile::Compiler;
use fairway_proxy::snapshot::{Bind, Port, Snapshot, Transport};
use fairway_proxy::telemetry::Telemetry;
use policies::Request;

const SIZES: [usize; 4] = [10, 1000, 5000, 10_000];
const ASKED: usize = 1024;

/// How routes differ.
#[derive(Clone, Copy)]
enum Shape {
    Hosts,
    Prefixes,
    Exact,
    /// With a literal first segment each.
    Regexes,
}

const SHAPES: [(&str, Shape); 4] = [
    ("hosts", Shape::Hosts),
    ("prefixes", Shape::Prefixes),
    ("exact", Shape::Exact),
    ("regexes", Shape::Regexes),
];

fn backend(name: &str) -> BackendRef {
    BackendRef { namespace: "ns".to_owned(), name: name.to_owned(), port: 80 }
}

impl Shape {
    fn host(self, at: usize) -> String {
        match self {
            Self::Hosts => format!("host-{at}.example.com"),
            Self::Prefixes | Self::Exact | Self::Regexes => "www.example.com".to_owned(),
        }
    }

    fn path(self, at: usize) -> PathMatch {
        match self {
            Self::Hosts => PathMatch::Prefix("/".to_owned()),
            Self::Prefixes => PathMatch::Prefix(format!("/service-{at}/api")),
            Self::Exact => PathMatch::Exact(format!("/service-{at}/api")),
            Self::Regexes => PathMatch::Regex(format!("/service-{at}/[a-z]+/[0-9]+")),
        }
    }

    fn target(self, at: usize) -> String {
        match self {
            Self::Hosts => "/users/42".to_owned(),
            Self::Prefixes => format!("/service-{at}/api/users/42"),
            Self::Exact => format!("/service-{at}/api"),
            Self::Regexes => format!("/service-{at}/users/42"),
        }
    }

    fn route(self, at: usize, to: &str) -> (Key, Arc<Resource>) {
        let rule = HttpRule {
            name: None,
            matches: vec![HttpMatch { path: self.path(at), ..HttpMatch::default() }],
            policies: PolicySet::default(),
            attached: Vec::new(),
            action: Action::Forward(vec![WeightedBackend {
                target: Target::Backend(backend(to)),
                weight: 1,
                policies: PolicySet::default(),
                attached: Vec::new(),
            }]),
        };
        let parent = Parent::Listener {
            namespace: "infra".to_owned(),
            gateway: "gw".to_owned(),
            section: "http".to_owned(),
            hostnames: vec![self.host(at)],
        };
        let route = HttpRoute { created: 1, parents: vec![parent], attached: Vec::new(), rules: vec![rule] };
        (Key::new(Kind::HttpRoute, "ns", format!("route-{at}")), Arc::new(Resource::HttpRoute(route)))
    }

    fn update(self, routes: usize) -> Update {
        let listener = Listener {
            address: None,
            port: 80,
            protocol: Protocol::Http,
            hostname: None,
            tls: None,
            backend_certificate: None,
            traffic: None,
            attached: Vec::new(),
            scope: Scope::Gateway,
        };
        let mut upserts: Resources = (0..routes).map(|at| self.route(at, "a")).collect();
        upserts.insert(Key::new(Kind::Listener, "infra", "gw/http"), Arc::new(Resource::Listener(listener)));
        for name in ["a", "b"] {
            upserts.insert(Key::backend(&backend(name)), Arc::new(Resource::Backend(Backend::default())));
        }
        Update { version: 1, upserts, removes: Vec::new() }
    }

    fn asked(self, routes: usize) -> Vec<(String, String, Request)> {
        // A sequence without pattern that visits every route equally often.
        (0..ASKED)
            .map(|at| at * 7919 % routes)
            .map(|at| {
                let target = self.target(at);
                let req = Request::build("GET", target.as_bytes(), None).expect("a request");
                (self.host(at), target, req)
            })
            .collect()
    }
}

fn compiled(shape: Shape, routes: usize) -> (Compiler, Snapshot) {
    let mut compiler = Compiler::new(Arc::new(Telemetry::default()));
    let (snapshot, rejections) = compiler.apply(shape.update(routes));
    assert!(rejections.is_empty(), "{rejections:?}");
    (compiler, snapshot)
}

/// One pass over `asked`.
fn pass(port: &Port, asked: &[(String, String, Request)]) {
    for (host, path, req) in asked {
        let found = port.routes.find(black_box(req), black_box(host), black_box(path), None);
        assert!(found.is_some());
    }
}

fn port(snapshot: &Snapshot) -> Arc<Port> {
    snapshot.ports.get(&Bind { transport: Transport::Tcp, address: None, port: 80 }).expect("a port").clone()
}

fn find(c: &mut Criterion) {
    for (name, shape) in SHAPES {
        for (span, all) in [("few", false), ("all", true)] {
            let mut group = c.benchmark_group(format!("find/{name}/{span}"));
            group.throughput(Throughput::Elements(ASKED as u64));
            for routes in SIZES {
                let (_compiler, snapshot) = compiled(shape, routes);
                let (port, asked) = (port(&snapshot), shape.asked(if all { routes } else { 10 }));
                group.bench_function(BenchmarkId::from_parameter(routes), |b| b.iter(|| pass(&port, &asked)));
            }
        }
    }
}

/// Nanoseconds per find at each size, and their ratio to the least size. The sizes take turns and the fastest of many
/// short passes counts, so that it also holds on a machine with other work.
#[allow(clippy::print_stdout, reason = "a bench says what it measured")]
fn ratios(_: &mut Criterion) {
    for (name, shape) in SHAPES {
        for (span, all) in [("few", false), ("all", true)] {
            let made: Vec<_> = SIZES
                .into_iter()
                .map(|routes| (port(&compiled(shape, routes).1), shape.asked(if all { routes } else { 10 })))
                .collect();
            let mut best = [f64::INFINITY; SIZES.len()];
            for _ in 0..2000 {
                for ((port, asked), best) in made.iter().zip(&mut best) {
                    // Once to have the caches as they are in service.
                    pass(port, asked);
                    let start = std::time::Instant::now();
                    pass(port, asked);
                    *best = best.min(start.elapsed().as_secs_f64() * 1e9 / ASKED as f64);
                }
            }
            let figures = SIZES
                .iter()
                .zip(best)
                .map(|(routes, ns)| format!("{routes}: {ns:.1} ns ({:.2})", ns / best[0]));
            println!("ratio/{name}/{span}: {}", figures.collect::<Vec<_>>().join(", "));
        }
    }
}

fn apply(c: &mut Criterion) {
    for (name, shape) in SHAPES {
        let mut group = c.benchmark_group(format!("apply/{name}"));
        for routes in SIZES {
            let (mut compiler, first) = compiled(shape, routes);
            // Held as the published one is.
            let mut held = Arc::new(first);
            let changes = ["b", "a"].map(|to| {
                let upserts = Resources::from([shape.route(routes / 2, to)]);
                Update { version: 2, upserts, removes: Vec::new() }
            });
            let mut turn = changes.iter().cycle();
            group.bench_function(BenchmarkId::from_parameter(routes), |b| {
                b.iter(|| {
                    let update = turn.next().expect("a cycle").clone();
                    let (snapshot, rejections) = compiler.apply(update);
                    assert!(rejections.is_empty());
                    held = Arc::new(snapshot);
                });
            });
        }
    }
}

fn start(c: &mut Criterion) {
    let mut group = c.benchmark_group("start");
    group.sample_size(10);
    for (name, shape) in SHAPES {
        let update = shape.update(5000);
        group.bench_function(BenchmarkId::new(name, 5000), |b| {
            b.iter_with_large_drop(|| {
                let mut compiler = Compiler::new(Arc::new(Telemetry::default()));
                let made = compiler.apply(update.clone());
                (compiler, made)
            });
        });
    }
}

/// Resident memory per route, resources, rules, tables and counters together.
#[allow(clippy::print_stdout, reason = "a bench says what it measured")]
fn memory(_: &mut Criterion) {
    let resident = || {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or_default() * 4096
    };
    for (name, shape) in SHAPES {
        let before = resident();
        let kept = compiled(shape, 10_000);
        println!("memory/{name}: {} bytes per route", resident().saturating_sub(before) / 10_000);
        // Or the next would find free memory.
        std::mem::forget(kept);
    }
}

criterion_group!(benches, memory, ratios, find, apply, start);
criterion_main!(benches);
