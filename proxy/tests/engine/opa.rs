//! Open Policy Agent as the service that decides (`conformance/opa`): its evaluator, Envoy's own message types and grpc-go, so
//! that both ends of the contract are not ours.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::harness::{Mesh, Origin, Raw, backend, full, guarded, raw, within};

/// The program, which `.ci/install` builds where there is Go.
fn program() -> Option<PathBuf> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/opa/opa");
    if !program.is_file() {
        eprintln!("WARNING: extAuth is NOT checked with Open Policy Agent: run .ci/install, which needs Go");
        return None;
    }
    Some(program)
}

struct Opa {
    address: SocketAddr,
    /// Ends with its standard input, and so with us.
    _child: Child,
}

impl Opa {
    async fn start(program: &Path) -> Self {
        let policy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/opa/policy.rego");
        let mut child = Command::new(program)
            .arg(policy)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = within(lines.next_line()).await.unwrap().expect("an address");
        Self { address: address.parse().unwrap(), _child: child }
    }
}

async fn ask(mesh: &Mesh, method: &str, path: &str, fields: &str) -> Raw {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\ncontent-length: 0\r\n{fields}\r\n"
    );
    raw(mesh.address(), &request).await
}

#[tokio::test]
async fn open_policy_agent_decides_by_the_body() {
    let Some(program) = program() else { return };
    let (opa, origin) = (Opa::start(&program).await, Origin::named("a").await);
    let policy = "{extAuth: {grpc: {backendRef: {name: opa, port: 80}}, timeout: 10s, \
                  bodyToExtAuth: {maxRequestBytes: 1000, allowPartialMessage: true}}}";
    let mesh =
        Mesh::start(&(guarded(policy, &[origin.address]) + &backend("opa", "h2c", &[opa.address]))).await;
    let spaces = " ".repeat(1000);
    for (body, status) in [
        (r#"{"amount": 100}"#, 200),
        (r#"{"amount": 101}"#, 403),
        (r#"{"amount": "#, 403),
        ("", 403),
        (&*format!(r#"{{"amount": 100}}{spaces}"#), 403),
    ] {
        let request = format!(
            "POST /transfers HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = raw(mesh.address(), &request).await;
        assert_eq!(
            (answer.status, answer.status == 200 && answer.body == body),
            (status, status == 200),
            "{body}"
        );
    }
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn open_policy_agent_decides() {
    let Some(program) = program() else { return };
    let opa = Opa::start(&program).await;
    let origin = Origin::start(|request| async move {
        let field = |name| request.headers().get(name).map_or("-", |value| value.to_str().unwrap());
        http::Response::new(full(format!("{} {} {}", field("x-source"), field("x-route"), field("x-role"))))
    })
    .await;
    let policy = "{extAuth: {grpc: {backendRef: {name: opa, port: 80}}, contextExtensions: [{name: route, value: shop}], timeout: 10s}}";
    let mesh =
        Mesh::start(&(guarded(policy, &[origin.address]) + &backend("opa", "h2c", &[opa.address]))).await;

    let public = ask(&mesh, "GET", "/public/a?b=c", "x-role: admin\r\n").await;
    assert_eq!((public.status, &*public.body), (200, "127.0.0.1 shop -"));
    assert_eq!(public.field("x-decided-by"), Some("opa"));
    let admin = ask(&mesh, "DELETE", "/orders/1", "authorization: Bearer admin\r\nx-role: guest\r\n").await;
    assert_eq!((admin.status, &*admin.body), (200, "- - admin"));
    assert_eq!(admin.field("x-decided-by"), None);
    for (method, path) in [("POST", "/public/a"), ("GET", "/private"), ("GET", "/publicly")] {
        let refused = ask(&mesh, method, path, "").await;
        assert_eq!((refused.status, &*refused.body), (403, "not you"), "{method} {path}");
        assert_eq!(refused.field("x-reason"), Some("default"));
    }
    assert_eq!(origin.requests(), 2);
    drop(opa);
    let gone = ask(&mesh, "GET", "/public/a", "").await;
    assert_eq!(gone.status, 403);
    assert!(gone.body.contains("ext_auth_error"), "{}", gone.body);
}
