//! API keys and passwords on the way to a backend.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::task::JoinSet;

use crate::harness::{Mesh, Origin, Raw, guarded, raw, secret, within};

async fn ask(mesh: &Mesh, fields: &str) -> Raw {
    raw(mesh.address(), &format!("GET / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n{fields}\r\n")).await
}

fn basic(credentials: &str) -> String {
    format!("authorization: Basic {}\r\n", BASE64_STANDARD.encode(credentials))
}

#[tokio::test]
async fn a_key_admits_its_client_and_a_new_secret_takes_the_old_key_away() {
    let origin = Origin::named("a").await;
    let policy =
        "{apiKeyAuth: {credentialRefs: [{kind: Secret, name: keys}], extractFrom: [{headers: [x-key]}]}}";
    let config = |key: &str| guarded(policy, &[origin.address]) + &secret("keys", "bff", key);
    let mut mesh = Mesh::start(&config("key-one")).await;
    assert_eq!(ask(&mesh, "x-key: key-one\r\n").await.status, 200);
    let refused = ask(&mesh, "").await;
    assert_eq!((refused.status, refused.field("www-authenticate")), (401, Some("ApiKey")));
    mesh.serve(&config("key-two")).await;
    assert_eq!(ask(&mesh, "x-key: key-one\r\n").await.status, 401);
    assert_eq!(ask(&mesh, "x-key: key-two\r\n").await.status, 200);
    assert_eq!(origin.requests(), 2);
}

#[tokio::test]
async fn without_its_secret_a_policy_refuses_all() {
    let origin = Origin::named("a").await;
    let policy = "{basicAuth: {users: {kind: Secret, name: gone}}}";
    let mut mesh = Mesh::start("").await;
    let answer = mesh.serve(&guarded(policy, &[origin.address])).await;
    assert_eq!(answer.rejections.len(), 1, "{:?}", answer.rejections);
    let refused = ask(&mesh, &basic("u:p")).await;
    assert_eq!(refused.status, 500);
    assert!(refused.body.contains("security_policy_invalid"), "{}", refused.body);
    assert_eq!(origin.requests(), 0);
}

/// Wrong passwords come as fast as they can, each a hash of some milliseconds; whoever is remembered must not wait for
/// them, and so must requests without a password.
#[tokio::test]
async fn a_flood_of_wrong_passwords_holds_nobody_else_up() {
    let origin = Origin::named("a").await;
    let hash = bcrypt::hash_with_salt("right", 5, [7; 16]).unwrap().format_for_version(bcrypt::Version::TwoY);
    let policy = "{basicAuth: {users: {kind: Secret, name: users}}}";
    let config = guarded(policy, &[origin.address]) + &secret("users", ".htpasswd", &format!("u:{hash}"));
    let mesh = Mesh::start(&config).await;
    assert_eq!(within(ask(&mesh, &basic("u:right"))).await.status, 200);
    let address = mesh.address();
    let mut flood = JoinSet::new();
    for n in 0..300 {
        let request = format!(
            "GET / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n{}\r\n",
            basic(&format!("u:wrong-{n}"))
        );
        flood.spawn(async move { raw(address, &request).await.status });
    }
    let mut slowest = Duration::ZERO;
    for _ in 0..50 {
        let begun = Instant::now();
        assert_eq!(ask(&mesh, &basic("u:right")).await.status, 200);
        assert_eq!(ask(&mesh, "").await.status, 401);
        slowest = slowest.max(begun.elapsed());
    }
    let (mut wrong, mut busy) = (0, 0);
    while let Some(status) = flood.join_next().await {
        match status.unwrap() {
            401 => wrong += 1,
            503 => busy += 1,
            other => panic!("{other}"),
        }
    }
    assert!(wrong > 0 && busy > 0, "{wrong} were checked, {busy} turned away");
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
}
