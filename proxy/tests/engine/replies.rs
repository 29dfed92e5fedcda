//! What the proxy answers itself, and what it refuses before anything routes on it.

use http::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{
    Http2, Mesh, Origin, backend, forward, full, get, listener, one_backend, raw, read_one, route, route_on,
    with_policies, within,
};

fn rules(actions: &[(&str, &str)]) -> String {
    actions
        .iter()
        .map(|(prefix, action)| {
            format!("  - matches: [{{path: {{prefix: {prefix}}}}}]\n    action: {action}\n")
        })
        .collect()
}

#[tokio::test]
async fn what_cannot_be_forwarded_is_answered_with_its_reason() {
    let config = listener(0)
        + &backend("a", "http", &[])
        + &route(
            "r",
            &rules(&[
                ("/broken", "{fail: {message: no such filter}}"),
                ("/nothing", "{forward: []}"),
                (
                    "/zero",
                    "{forward: [{target: {backend: {namespace: default, name: a, port: 80}}, weight: 0}]}",
                ),
                ("/invalid", "{forward: [{target: {invalid: {message: not granted}}, weight: 1}]}"),
                ("/gone", &forward("unknown")),
                ("/empty", &forward("a")),
            ]),
        );
    let mesh = {
        let mut mesh = Mesh::start("").await;
        mesh.serve(&config).await;
        mesh
    };
    for (path, status, reason) in [
        ("/broken", 500, "rule_invalid"),
        ("/nothing", 500, "no_backend"),
        ("/zero", 500, "no_backend"),
        ("/invalid", 500, "invalid_backend"),
        ("/gone", 500, "invalid_backend"),
        ("/empty", 503, "no_endpoints"),
        ("/other", 404, "route_not_found"),
    ] {
        let response = get(mesh.address(), path).await;
        assert_eq!((response.status, &*response.body), (status, reason), "{path}");
        assert_eq!(response.field("content-type"), Some("text/plain"));
        assert_eq!(response.field("server"), None);
    }
}

#[tokio::test]
async fn answers_for_grpc_are_trailers_only() {
    let mesh = Mesh::start(&one_backend("h2c", &[])).await;
    let mut client = Http2::plain(mesh.address()).await;
    let request =
        Request::post("http://a/s/m").header("content-type", "application/grpc").body(full("")).unwrap();
    let response = client.send(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["grpc-status"], "14");
    assert_eq!(response.headers()["grpc-message"], "no_endpoints");
    assert!(hyper::body::Body::is_end_stream(response.body()), "END_STREAM is on HEADERS");
}

#[tokio::test]
async fn heads_that_backends_could_read_otherwise_are_refused() {
    let origin = Origin::named("a").await;
    let mesh = Mesh::start(&one_backend("http", &[origin.address])).await;
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a, b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n", 400),
        ("GET /#x HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET  /x HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET /%00 HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1, 1\r\n\r\nx", 400),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        ("GET / HTTP/1.1\r\nhost: a\r\nexpect: x\r\n\r\n", 417),
        ("CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n", 405),
        ("GET / HTTP/1.1\r\nhost : a\r\n\r\n", 400),
    ] {
        let mut tcp = TcpStream::connect(mesh.address()).await.unwrap();
        tcp.write_all(request.as_bytes()).await.unwrap();
        let response = read_one(&mut tcp).await;
        assert_eq!(response.status, status, "{request:?}");
        assert_eq!(response.field("server"), None, "{request:?}");
    }
    assert_eq!(origin.requests(), 0);
    let absolute = "GET http://a.test/x HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n";
    assert_eq!(raw(mesh.address(), absolute).await.field("path"), Some("/x"));
}

#[tokio::test]
async fn filters_see_replies_too() {
    let policies = "{responseHeaders: {set: [{name: x-by, value: rule}]}}";
    let mesh = Mesh::start(&with_policies(policies, &[])).await;
    let response = get(mesh.address(), "/").await;
    assert_eq!((response.status, response.field("x-by")), (503, Some("rule")));
}

#[tokio::test]
async fn an_answer_to_an_upload_reaches_the_client_that_is_still_sending() {
    let mesh = Mesh::start(&one_backend("http", &[])).await;
    for _ in 0..10 {
        let mut tcp = TcpStream::connect(mesh.address()).await.unwrap();
        tcp.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 500000\r\n\r\n").await.unwrap();
        let _ = tcp.write_all(&[b'x'; 100_000]).await;
        let response = read_one(&mut tcp).await;
        assert_eq!((response.status, response.field("connection")), (503, Some("close")));
    }
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_with_it() {
    let (told, mut gone) = tokio::sync::mpsc::channel::<()>(1);
    let origin = Origin::start(move |_| {
        let told = told.clone();
        async move {
            // Dropped with the request.
            let _told = told;
            std::future::pending::<Response<crate::harness::Body>>().await
        }
    })
    .await;
    let mesh = Mesh::start(&one_backend("http", &[origin.address])).await;
    let mut tcp = TcpStream::connect(mesh.address()).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    while origin.requests() == 0 {
        tokio::task::yield_now().await;
    }
    drop(tcp);
    let address = origin.address;
    drop(origin);
    assert!(within(gone.recv()).await.is_none(), "{address}");
}

#[tokio::test]
async fn a_request_that_was_sent_too_early_is_answered_in_turn() {
    let origin = Origin::start(|_| async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        Response::new(full("x"))
    })
    .await;
    let mesh = Mesh::start(&one_backend("http", &[origin.address])).await;
    let mut tcp = TcpStream::connect(mesh.address()).await.unwrap();
    for _ in 0..2 {
        tcp.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(read_one(&mut tcp).await.status, 200);
    assert_eq!(read_one(&mut tcp).await.status, 200);
}

#[tokio::test]
async fn a_slow_head_is_given_up() {
    let mesh = Mesh::start(&one_backend("http", &[])).await;
    let mut tcp = TcpStream::connect(mesh.address()).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\nhos").await.unwrap();
    let closed = within(async {
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            if tcp.write_all(b"t").await.is_err() || tcp.try_read(&mut [0]).is_ok() {
                return true;
            }
        }
    });
    assert!(closed.await);
}

#[tokio::test]
async fn hosts_of_other_listeners_are_not_found() {
    let config =
        "---\nkey: Listener/default/gw/http\nresource: {kind: Listener, port: 0, protocol: HTTP, hostname: \
                  \"*.a.test\", scope: gateway}\n"
            .to_owned()
            + &backend("a", "http", &[])
            + &route_on("r", "http", "*.a.test", &format!("  - action: {}", forward("a")));
    let mesh = Mesh::start(&config).await;
    let request = |host: &str| format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    assert_eq!(raw(mesh.address(), &request("X.A.test:80")).await.status, 503);
    assert_eq!(raw(mesh.address(), &request("a.test")).await.status, 404);
    let mut tcp = TcpStream::connect(mesh.address()).await.unwrap();
    tcp.write_all(request("b.test").as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    within(tcp.read_to_end(&mut bytes)).await.unwrap();
    assert!(bytes.starts_with(b"HTTP/1.1 404"));
}
