//! Tokens and keys of a real OpenID Provider (`conformance/idp`), through the whole engine.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::harness::{Mesh, Origin, Raw, backend, forward, listener, raw, route, within};

/// Builds it once; the module's versions are those of its `go.sum`.
fn program() -> std::path::PathBuf {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/idp");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("idp");
    let built = Command::new("go")
        .args(["build", "-mod=readonly", "-o"])
        .arg(&program)
        .arg(".")
        .env("CGO_ENABLED", "0")
        .current_dir(module)
        .output()
        .expect("Go is missing: it builds the identity provider (README.md)");
    assert!(
        built.status.success(),
        "the identity provider cannot be built; run .ci/install: {}",
        String::from_utf8_lossy(&built.stderr)
    );
    program
}

/// A running provider; ends with the test.
struct Idp {
    port: u16,
    child: Child,
}

impl Drop for Idp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Idp {
    async fn start(port: u16) -> Self {
        let child = Command::new(program())
            .arg(port.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let idp = Self { port, child };
        let since = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(since.elapsed() < Duration::from_secs(30), "the provider does not listen");
            sleep(Duration::from_millis(20)).await;
        }
        idp
    }

    async fn ask(&self, method: &str, path: &str, (fields, body): (&str, &str)) -> Raw {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nconnection: close\r\n{fields}content-length: {}\r\n\r\n{body}",
            self.port,
            body.len()
        );
        raw(([127, 0, 0, 1], self.port).into(), &request).await
    }

    async fn token(&self) -> String {
        // sid1:verysecret
        let fields = "authorization: Basic c2lkMTp2ZXJ5c2VjcmV0\r\ncontent-type: application/x-www-form-urlencoded\r\n";
        let body = "grant_type=client_credentials&scope=openid";
        let answer = self.ask("POST", "/oauth/token", (fields, body)).await;
        let json: Value = serde_json::from_str(&answer.body).unwrap_or_else(|e| panic!("{e}: {answer:?}"));
        json["access_token"].as_str().unwrap().to_owned()
    }

    async fn change(&self, how: &str) {
        assert_eq!(self.ask("POST", how, ("", "")).await.status, 200);
    }

    /// A policy for its tokens, from what it says of itself.
    async fn policy(&self) -> String {
        let said = self.ask("GET", "/.well-known/openid-configuration", ("", "")).await;
        let said: Value = serde_json::from_str(&said.body).unwrap();
        let (issuer, keys) = (said["issuer"].as_str().unwrap(), said["jwks_uri"].as_str().unwrap());
        format!(
            "---\nkey: SecurityPolicy/default/tokens\nresource:\n  kind: SecurityPolicy\n  defaults:\n    jwt:\n      providers:\n      \
             - name: idp\n        issuer: {issuer}\n        audiences: [sid1]\n        remoteJWKS: {{uri: {keys}, backendRefs: \
             [{{name: idp, port: 80}}], cacheDuration: 1s, failedRefetchDuration: 100ms}}\n        claimToHeaders: [{{claim: sub, \
             header: x-caller}}]\n"
        )
    }
}

async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

fn config(idp: u16, policy: &str, origin: &Origin) -> String {
    let rule = format!("  - action: {}", forward("a"));
    let route = route("r", &rule)
        .replace("  kind: HttpRoute\n", "  kind: HttpRoute\n  attached: [SecurityPolicy/default/tokens]\n");
    listener(0)
        + &backend("a", "http", &[origin.address])
        + &backend("idp", "http", &[([127, 0, 0, 1], idp).into()])
        + policy
        + &route
}

async fn get(mesh: &Mesh, token: &str) -> Raw {
    let request = format!(
        "GET / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\nx-caller: root\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    raw(mesh.address(), &request).await
}

/// The same token, with another subject, or with another signature.
fn forged(token: &str) -> [String; 2] {
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (head, payload) = message.split_once('.').unwrap();
    let mut payload = payload.to_owned();
    let other = if payload.as_bytes()[20] == b'A' { "B" } else { "A" };
    payload.replace_range(20..21, other);
    let reversed: String = signature.chars().rev().collect();
    [format!("{head}.{payload}.{signature}"), format!("{message}.{reversed}")]
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_under_load_and_no_valid_token_fails_and_no_invalid_one_passes() {
    let (port, origin) = (free_port().await, Origin::named("a").await);
    let idp = Arc::new(Idp::start(port).await);
    let mesh = Arc::new(Mesh::start(&config(port, &idp.policy().await, &origin)).await);

    let first = idp.token().await;
    let answer = get(&mesh, &first).await;
    assert_eq!((answer.status, answer.field("seen-x-caller")), (200, Some("sid1")), "{answer:?}");
    assert_eq!(get(&mesh, "").await.status, 401);

    let (stop, sent, wrong) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (idp, mesh, stop, sent, wrong) =
                (idp.clone(), mesh.clone(), stop.clone(), sent.clone(), wrong.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    // Of the newest key, whether it is known already or not.
                    let token = idp.token().await;
                    for _ in 0..5 {
                        wrong.fetch_add(
                            usize::from(get(&mesh, &token).await.status != 200),
                            Ordering::Relaxed,
                        );
                        sent.fetch_add(1, Ordering::Relaxed);
                    }
                    for bad in forged(&token) {
                        wrong.fetch_add(usize::from(get(&mesh, &bad).await.status != 401), Ordering::Relaxed);
                        sent.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    // Once without a word, which a request finds out; more than once in 30 s only as issuers do it, published before it signs.
    for (before, after) in [("", "/rotate"), ("/publish", "/rotate"), ("/publish", "/rotate")] {
        if !before.is_empty() {
            idp.change(before).await;
        }
        sleep(Duration::from_millis(2500)).await;
        idp.change(after).await;
    }
    sleep(Duration::from_millis(2500)).await;
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        within(client).await.unwrap();
    }
    let (sent, wrong) = (sent.load(Ordering::Relaxed), wrong.load(Ordering::Relaxed));
    assert!(sent >= 100, "only {sent} requests");
    assert_eq!(wrong, 0, "of {sent}");

    // Its key is not published any more: what was verified is forgotten with it.
    idp.change("/forget").await;
    let since = Instant::now();
    while get(&mesh, &first).await.status != 401 {
        assert!(since.elapsed() < Duration::from_secs(10), "a token outlives its key");
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(get(&mesh, &idp.token().await).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_down_stops_nobody_who_is_known_and_lets_nobody_else_in() {
    let (port, origin) = (free_port().await, Origin::named("a").await);
    let idp = Idp::start(port).await;
    let (policy, token) = (idp.policy().await, idp.token().await);
    let warm = Mesh::start(&config(port, &policy, &origin)).await;
    assert_eq!(get(&warm, &token).await.status, 200);
    drop(idp);

    let cold = Mesh::start(&config(port, &policy, &origin)).await;
    let (until, mut served) = (Instant::now() + Duration::from_secs(3), 1);
    while Instant::now() < until {
        assert_eq!(get(&warm, &token).await.status, 200, "warm");
        served += 1;
        let answer = get(&cold, &token).await;
        assert_eq!((answer.status, answer.field("retry-after")), (503, Some("5")), "cold: {answer:?}");
    }
    assert_eq!(origin.requests(), served, "the cold proxy forwards nothing");
}
