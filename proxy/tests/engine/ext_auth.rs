//! Services that decide, over real connections.

mod bodies;
mod coming;
mod shown;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;

use crate::harness::{Body, Mesh, Origin, Raw, backend, full, guarded, nobody, raw};

/// `CheckResponse` with this status and, for OK, a field `x-user: bea`, as protobuf writes it.
fn check_response(code: u8) -> Bytes {
    let mut message = BytesMut::new();
    // status (1) { code (1) }
    message.put_slice(&[0x0a, 2, 0x08, code]);
    if code == 0 {
        // ok_response (3) { headers (2) { header (1) { key (1), value (2) } } }
        message.put_slice(&[0x1a, 17, 0x12, 15, 0x0a, 13, 0x0a, 6]);
        message.put_slice(b"x-user");
        message.put_slice(&[0x12, 3]);
        message.put_slice(b"bea");
    }
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap());
    frame.put_slice(&message);
    frame.freeze()
}

fn grpc(frame: Bytes, status: &'static str) -> Response<Body> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    let frames = [Ok(Frame::data(frame)), Ok(Frame::trailers(trailers))];
    let body = StreamBody::new(futures::stream::iter(frames)).boxed();
    Response::builder().header("content-type", "application/grpc").body(body).unwrap()
}

/// Admits who has a field `x-let: in`, which it looks for in the bytes of the CheckRequest.
async fn authority() -> Origin {
    Origin::start(|request| async move {
        assert_eq!(request.uri().path(), "/envoy.service.auth.v3.Authorization/Check");
        assert_eq!(request.headers()["te"], "trailers");
        let asked = request.into_body().collect().await.unwrap().to_bytes();
        let has = |text: &[u8]| asked.windows(text.len()).any(|window| window == text);
        assert!(has(b"a.test") && has(b"127.0.0.1"), "host and client");
        grpc(check_response(if has(b"x-let\x12\x02in") { 0 } else { 7 }), "0")
    })
    .await
}

/// An origin that answers with the user it is told.
async fn users() -> Origin {
    Origin::start(|request| async move {
        let users: Vec<_> = request.headers().get_all("x-user").iter().collect();
        Response::new(full(format!("{users:?}")))
    })
    .await
}

async fn ask(mesh: &Mesh, fields: &str) -> Raw {
    let head = "POST /a?b HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\ncontent-length: 4\r\n";
    raw(mesh.address(), &format!("{head}{fields}\r\nbody")).await
}

fn asking(service: &str, more: &str, origin: &Origin, protocol: &str, addresses: &[SocketAddr]) -> String {
    let policy = format!(
        "{{extAuth: {{{service}: {{backendRef: {{name: authz, port: 80}}}}, timeout: 500ms{more}}}}}"
    );
    guarded(&policy, &[origin.address]) + &backend("authz", protocol, addresses)
}

#[tokio::test]
async fn a_grpc_service_admits_refuses_and_names_the_user() {
    let (origin, service) = (users().await, authority().await);
    let mesh = Mesh::start(&asking("grpc", "", &origin, "h2c", &[service.address])).await;
    for _ in 0..3 {
        let admitted = ask(&mesh, "x-let: in\r\nx-user: root\r\n").await;
        assert_eq!((admitted.status, &*admitted.body), (200, r#"["bea"]"#));
        let refused = ask(&mesh, "").await;
        assert_eq!(refused.status, 403);
        assert!(refused.body.contains("ext_auth_denied"), "{}", refused.body);
    }
    assert_eq!((service.requests(), origin.requests()), (6, 3));
}

#[tokio::test]
async fn a_service_that_guards_a_backend_is_asked_whatever_the_route_wants() {
    let (origin, service) = (users().await, authority().await);
    let config = asking("grpc", "", &origin, "h2c", &[service.address])
        .replace("kind: HttpRoute\n  attached: [SecurityPolicy/default/p]\n", "kind: HttpRoute\n")
        .replace("weight: 1}", "weight: 1, attached: [SecurityPolicy/default/p]}");
    let mesh = Mesh::start(&config).await;
    assert_eq!(ask(&mesh, "x-let: in\r\n").await.status, 200);
    assert_eq!(ask(&mesh, "").await.status, 403);
    assert_eq!((service.requests(), origin.requests()), (2, 1));
}

#[tokio::test]
async fn an_http_service_admits_refuses_and_names_the_user() {
    let origin = users().await;
    let service = Origin::start(|request| async move {
        assert_eq!(request.uri().path_and_query().unwrap(), "/a?b");
        assert_eq!(request.headers()["content-length"], "0");
        if request.headers().get("authorization").is_some_and(|value| value == "let me in") {
            Response::builder().header("x-user", "bea").body(full("")).unwrap()
        } else {
            Response::builder()
                .status(401)
                .header("www-authenticate", "Custom")
                .body(full("who are you?"))
                .unwrap()
        }
    })
    .await;
    let policy = "{extAuth: {http: {backendRef: {name: authz, port: 80}, headersToBackend: [x-user]}}}";
    let config = guarded(policy, &[origin.address]) + &backend("authz", "http", &[service.address]);
    let mesh = Mesh::start(&config).await;
    let admitted = ask(&mesh, "authorization: let me in\r\nx-user: root\r\n").await;
    assert_eq!((admitted.status, &*admitted.body), (200, r#"["bea"]"#));
    let refused = ask(&mesh, "x-user: root\r\n").await;
    assert_eq!((refused.status, &*refused.body), (401, "who are you?"));
    assert_eq!(refused.field("www-authenticate"), Some("Custom"));
    assert_eq!(origin.requests(), 1);
}

/// Of a policy that is about the backend's Service, and not about the route.
#[tokio::test]
async fn a_policy_of_a_backend_asks_too_and_shows_the_body() {
    let (origin, service) = (users().await, authority().await);
    let config =
        asking("grpc", ", bodyToExtAuth: {maxRequestBytes: 100}", &origin, "h2c", &[service.address])
            .replace("  attached: [SecurityPolicy/default/p]\n", "")
            .replace("weight: 1}", "weight: 1, attached: [SecurityPolicy/default/p]}");
    let mesh = Mesh::start(&config).await;
    let request = "POST / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n";
    for (body, status) in [("x-let\x12\x02in", 200), ("x-let", 403)] {
        // What lets in is looked for in all of the message, and stands in the body here.
        let request = format!("{request}content-length: {}\r\n\r\n{body}", body.len());
        assert_eq!(raw(mesh.address(), &request).await.status, status, "{body:?}");
    }
    assert_eq!((service.requests(), origin.requests()), (2, 1));
}

#[tokio::test]
async fn a_service_that_does_not_decide_refuses_unless_it_fails_open() {
    let origin = users().await;
    let slow = Origin::start(|_| async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        grpc(check_response(0), "0")
    })
    .await;
    let broken = Origin::start(|_| async { grpc(check_response(0), "13") }).await;
    let nonsense = Origin::start(|_| async { grpc(Bytes::from_static(b"\0\0\0\0\x02\xff\xff"), "0") }).await;
    let huge = Origin::start(|_| async { grpc(vec![0; 100 << 10].into(), "0") }).await;
    for (name, address, reason, opens) in [
        ("slow", slow.address, "ext_auth_timeout", true),
        ("broken", broken.address, "ext_auth_error", true),
        ("not there", nobody().await, "ext_auth_error", true),
        ("nonsense", nonsense.address, "ext_auth_error", false),
        ("huge", huge.address, "ext_auth_error", false),
    ] {
        let mesh = Mesh::start(&asking("grpc", ", statusOnError: 503", &origin, "h2c", &[address])).await;
        let begun = Instant::now();
        let refused = ask(&mesh, "").await;
        assert_eq!(refused.status, 503, "{name}");
        assert!(refused.body.contains(reason), "{name}: {}", refused.body);
        assert!(begun.elapsed() < Duration::from_secs(5), "{name}: {:?}", begun.elapsed());
        let mesh = Mesh::start(&asking("grpc", ", failOpen: true", &origin, "h2c", &[address])).await;
        assert_eq!(ask(&mesh, "").await.status, if opens { 200 } else { 403 }, "{name}");
    }
    assert_eq!(origin.requests(), 3);
}

/// A client that goes away while the service is asked (Envoy CVE-2026-47205).
#[tokio::test]
async fn a_client_that_leaves_during_the_check_harms_nobody() {
    let origin = users().await;
    let service = Origin::start(|_| async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        grpc(check_response(0), "0")
    })
    .await;
    let mesh = Mesh::start(&asking("grpc", "", &origin, "h2c", &[service.address])).await;
    for _ in 0..20 {
        let mut tcp = tokio::net::TcpStream::connect(mesh.address()).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut tcp, b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n")
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        tcp.set_zero_linger().unwrap();
    }
    assert_eq!(ask(&mesh, "").await.status, 200);
}
