//! Sessions stay with their endpoint (GEP-1619), and keys with their backend.

use std::net::SocketAddr;

use crate::harness::{Mesh, Origin, Raw, backend, listener, raw, route, split};

const SESSION: &str = "{sessionPersistence: {sessionName: s, scope: r}}";

fn config(weights: [u32; 2], a: &[SocketAddr], b: &[SocketAddr]) -> String {
    let action = split(&[("a", weights[0]), ("b", weights[1])]);
    let rule = format!("  - action: {action}\n    policies: {SESSION}");
    listener(0) + &backend("a", "http", a) + &backend("b", "http", b) + &route("r", &rule)
}

async fn ask(mesh: &Mesh, cookie: &str) -> Raw {
    let cookie = if cookie.is_empty() { String::new() } else { format!("cookie: x=y; {cookie}\r\n") };
    raw(mesh.address(), &format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{cookie}\r\n")).await
}

/// Who answered.
fn origin(answer: &Raw) -> String {
    answer.field("origin").unwrap_or_default().to_owned()
}

fn pair(answer: &Raw) -> String {
    let cookie = answer.field("set-cookie").expect("a cookie");
    cookie.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_session_stays_with_its_endpoint_whatever_the_weights() {
    let origins = [Origin::named("a1").await, Origin::named("a2").await, Origin::named("b1").await];
    let [a1, a2, b1] = origins.each_ref().map(|origin| origin.address);
    let mut mesh = Mesh::start(&config([2, 1], &[a1, a2], &[b1])).await;

    // New clients go by weight, each to be told where it is.
    let mut sessions = Vec::new();
    for _ in 0..12 {
        let answer = ask(&mesh, "").await;
        sessions.push((pair(&answer), origin(&answer)));
    }
    assert!(["a1", "a2", "b1"].iter().all(|name| sessions.iter().any(|(_, at)| at == name)), "{sessions:?}");
    for (cookie, name) in sessions.iter().chain(&sessions) {
        let answer = ask(&mesh, cookie).await;
        assert_eq!((&origin(&answer), answer.field("set-cookie")), (name, None));
    }

    // "the persistence to a single backend MUST be maintained across services, even if the weight is set to 0"
    mesh.serve(&config([0, 1], &[a1, a2], &[b1])).await;
    for (cookie, name) in &sessions {
        assert_eq!(&origin(&ask(&mesh, cookie).await), name);
    }
    assert_eq!(origin(&ask(&mesh, "").await), "b1");

    // An endpoint that is gone: another, and then that one.
    mesh.serve(&config([1, 0], &[a2], &[b1])).await;
    let (cookie, _) = sessions.iter().find(|(_, at)| at == "a1").unwrap();
    let answer = ask(&mesh, cookie).await;
    assert_eq!(origin(&answer), "a2");
    let answer = ask(&mesh, &pair(&answer)).await;
    assert_eq!((&*origin(&answer), answer.field("set-cookie")), ("a2", None));
}

#[tokio::test]
async fn a_session_moves_on_when_its_endpoint_takes_no_connections() {
    let (alive, dead) = (Origin::named("alive").await, Origin::named("dead").await);
    let mesh = Mesh::start(&config([1, 0], &[alive.address, dead.address], &[])).await;
    let cookie = loop {
        let answer = ask(&mesh, "").await;
        if origin(&answer) == "dead" {
            break pair(&answer);
        }
    };
    drop(dead);
    for _ in 0..3 {
        let answer = ask(&mesh, &cookie).await;
        assert_eq!((answer.status, &*origin(&answer)), (200, "alive"));
        assert_ne!(pair(&answer), cookie);
    }
}

/// A split by the field `x-user`, with testers at `b`.
fn sticky(weights: [u32; 2], a: SocketAddr, b: SocketAddr) -> String {
    let action = split(&[("a", weights[0]), ("b", weights[1])]);
    let route = route("r", &format!("  - action: {action}"))
        .replace("kind: HttpRoute\n", "kind: HttpRoute\n  attached: [BackendTrafficPolicy/default/p]\n");
    let policy = "---\nkey: BackendTrafficPolicy/default/p\nresource: {kind: BackendTrafficPolicy, defaults: {trafficSplit: \
         {stickyBy: {header: X-User}, targets: [{clientSelectors: [{headers: [{name: x-tester, value: '1'}]}], \
         backendRef: {name: b, port: 80}}, {clientSelectors: [{headers: [{name: x-tester, value: '2'}]}], \
         backendRef: {name: elsewhere}}]}}}\n";
    listener(0) + &backend("a", "http", &[a]) + &backend("b", "http", &[b]) + &route + policy
}

async fn sent_with(mesh: &Mesh, field: &str) -> String {
    let head = format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{field}\r\n\r\n");
    origin(&raw(mesh.address(), &head).await)
}

#[tokio::test]
async fn a_key_goes_to_one_backend_in_every_proxy_and_moves_only_with_the_weights() {
    let (a, b) = (Origin::named("a").await, Origin::named("b").await);
    let mut mesh = Mesh::start(&sticky([80, 20], a.address, b.address)).await;
    let other = Mesh::start(&sticky([80, 20], a.address, b.address)).await;
    let user = |number: usize| format!("x-user: user-{number}");
    let mut before = Vec::new();
    for number in 0..60 {
        let at = sent_with(&mesh, &user(number)).await;
        assert_eq!(at, sent_with(&other, &user(number)).await);
        before.push(at);
    }
    let at_b = before.iter().filter(|at| *at == "b").count();
    assert!((3..=25).contains(&at_b), "{at_b} of 60");
    mesh.serve(&sticky([50, 50], a.address, b.address)).await;
    for (number, before) in before.iter().enumerate() {
        let now = sent_with(&mesh, &user(number)).await;
        assert!(now == *before || now == "b", "{number}: {before}, then {now}");
    }
}

#[tokio::test]
async fn a_target_is_reached_whatever_its_weight_and_only_where_it_is() {
    let (a, b) = (Origin::named("a").await, Origin::named("b").await);
    let mesh = Mesh::start(&sticky([1, 0], a.address, b.address)).await;
    assert_eq!(sent_with(&mesh, "x-tester: 1").await, "b");
    assert_eq!(sent_with(&mesh, "x-tester: 1\r\nx-user: any").await, "b");
    assert_eq!(sent_with(&mesh, "x-tester: 2").await, "a");
    assert_eq!(sent_with(&mesh, "x-tester: 3").await, "a");
}
