//! Limits, over real connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Response;

use crate::harness::{Mesh, Origin, backend, forward, full, listener, raw, route};

/// A policy that is about the route, with these rules (YAML, inline).
fn policy(rules: &str) -> String {
    format!(
        "---\nkey: BackendTrafficPolicy/default/p\nresource: {{kind: BackendTrafficPolicy, defaults: {{rateLimit: {{local: \
         {{rules: {rules}}}}}}}}}\n"
    )
}

fn limited(rules: &str, origin: &Origin) -> String {
    let route = route("r", &format!("  - action: {}", forward("a")))
        .replace("kind: HttpRoute\n", "kind: HttpRoute\n  attached: [BackendTrafficPolicy/default/p]\n");
    listener(0) + &backend("a", "http", &[origin.address]) + &route + &policy(rules)
}

async fn origin() -> Origin {
    Origin::start(|_| async { Response::new(full("ok")) }).await
}

const GET: &str = "GET / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n";

#[tokio::test]
async fn a_limit_refuses_with_429_and_says_when_to_come_again() {
    let origin = origin().await;
    let mesh = Mesh::start(&limited("[{name: all, limit: {requests: 2, unit: Hour}}]", &origin)).await;
    for left in [1, 0] {
        let answer = raw(mesh.address(), &format!("{GET}\r\n")).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.field("ratelimit-policy"), Some(r#""all";q=2;w=3600"#));
        assert!(answer.field("ratelimit").unwrap().starts_with(&format!(r#""all";r={left};t="#)));
    }
    let refused = raw(mesh.address(), &format!("{GET}\r\n")).await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.field("content-type"), Some("application/problem+json"));
    assert!(refused.body.contains(r#""violated-policies":["all"]"#), "{}", refused.body);
    let again: u64 = refused.field("retry-after").unwrap().parse().unwrap();
    assert!((1_790..=1_800).contains(&again), "{again}");
    assert!(refused.field("ratelimit").unwrap().starts_with(r#""all";r=0;t="#));
    assert_eq!(origin.requests(), 2);
}

#[tokio::test]
async fn what_was_counted_outlives_a_change_of_the_policy() {
    let origin = origin().await;
    let rules = "[{name: all, limit: {requests: 3, unit: Hour}}]";
    let mut mesh = Mesh::start(&limited(rules, &origin)).await;
    for _ in 0..2 {
        assert_eq!(raw(mesh.address(), &format!("{GET}\r\n")).await.status, 200);
    }
    let more =
        "[{name: all, limit: {requests: 3, unit: Hour}}, {name: other, limit: {requests: 9, unit: Hour}}]";
    mesh.serve(&limited(more, &origin)).await;
    for status in [200, 429] {
        assert_eq!(raw(mesh.address(), &format!("{GET}\r\n")).await.status, status);
    }
}

#[tokio::test]
async fn many_connections_together_get_no_more_than_the_limit() {
    let origin = origin().await;
    let config = limited("[{name: all, limit: {requests: 50, unit: Hour}}]", &origin);
    let mesh = Mesh::start(&config).await;
    let admitted = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (admitted, address) = (Arc::clone(&admitted), mesh.address());
            tokio::spawn(async move {
                for _ in 0..10 {
                    let answer = raw(address, &format!("{GET}\r\n")).await;
                    assert!(matches!(answer.status, 200 | 429));
                    admitted.fetch_add(usize::from(answer.status == 200), Ordering::Relaxed);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(admitted.load(Ordering::Relaxed), 50);
    assert_eq!(origin.requests(), 50);
}

#[tokio::test]
async fn each_client_has_its_own_where_values_are_told_apart() {
    let origin = origin().await;
    let rules = "[{limit: {requests: 1, unit: Hour}, clientSelectors: [{headers: [{type: Distinct, name: x-user}]}]}]";
    let mesh = Mesh::start(&limited(rules, &origin)).await;
    let mut statuses = Vec::new();
    for user in ["a", "b", "a", "b"] {
        statuses.push(raw(mesh.address(), &format!("{GET}x-user: {user}\r\n\r\n")).await.status);
    }
    assert_eq!(statuses, [200, 200, 429, 429]);
}

/// A policy of limits that all proxies hold together.
fn global(rules: &str, origin: &Origin) -> String {
    limited(rules, origin).replace("{local: {rules:", "{global: {rules:")
}

#[tokio::test]
async fn what_all_proxies_hold_together_one_alone_holds_by_itself_and_it_outlives_a_change() {
    let origin = origin().await;
    let rules = "[{name: all, shared: true, limit: {requests: 8, unit: Hour}}]";
    let mut mesh = Mesh::start(&global(rules, &origin)).await;
    // That there is nobody to lease anything is found in a moment; until then two of eight are admitted.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    for _ in 0..6 {
        let answer = raw(mesh.address(), &format!("{GET}\r\n")).await;
        assert_eq!((answer.status, answer.field("ratelimit-policy")), (200, Some(r#""all";q=8;w=3600"#)));
    }
    let more = "[{name: all, shared: true, limit: {requests: 8, unit: Hour}}, {name: w, limit: {requests: 9, unit: \
                Hour, algorithm: SlidingWindow}}]";
    mesh.serve(&global(more, &origin)).await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(raw(mesh.address(), &format!("{GET}\r\n")).await.status);
    }
    assert_eq!(statuses, [200, 200, 429, 429]);
    assert_eq!(origin.requests(), 8);
}

#[tokio::test]
async fn a_user_has_one_limit_over_all_routes_that_share_it() {
    let origin = origin().await;
    let rules = "[{shared: true, limit: {requests: 2, unit: Hour}, clientSelectors: [{headers: [{type: Distinct, name: \
                 x-user}]}]}]";
    let mesh = Mesh::start(&global(rules, &origin)).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let mut statuses = Vec::new();
    for user in ["a", "b", "a", "a", "b", "b"] {
        statuses.push(raw(mesh.address(), &format!("{GET}x-user: {user}\r\n\r\n")).await.status);
    }
    assert_eq!(statuses, [200, 200, 200, 429, 200, 429]);
}
