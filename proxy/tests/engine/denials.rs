//! How refusals of policies reach clients.

use http::Request;

use crate::harness::{Http2, Mesh, Origin, full, get, guarded, raw};

#[tokio::test]
async fn a_refusal_is_a_problem_unless_told_otherwise_and_reaches_no_backend() {
    let origin = Origin::named("a").await;
    let list = "ipDenyList: {cidrs: [127.0.0.0/8]}";
    let problem = r#"{"type":"about:blank","title":"Forbidden","status":403,"reason":"ip_denied"}"#;
    for (denials, form, body) in [
        ("", Some("application/problem+json"), problem),
        ("denials: {body: Problem}, ", Some("application/problem+json"), problem),
        ("denials: {body: Text}, ", Some("text/plain"), "ip_denied"),
        ("denials: {body: None}, ", None, ""),
    ] {
        let mesh = Mesh::start(&guarded(&format!("{{{denials}{list}}}"), &[origin.address])).await;
        let response = get(mesh.address(), "/").await;
        assert_eq!((response.status, &*response.body), (403, body), "{denials}");
        assert_eq!(response.field("content-type"), form, "{denials}");
        assert_eq!(response.field("content-length"), Some(&*body.len().to_string()));
    }
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn what_the_lists_let_through_is_served() {
    let origin = Origin::named("a").await;
    let lists = "{ipDenyList: {cidrs: [10.0.0.0/8]}, ipAllowList: {cidrs: [127.0.0.1/32]}, csrf: {}}";
    let mesh = Mesh::start(&guarded(lists, &[origin.address])).await;
    assert_eq!(get(mesh.address(), "/").await.status, 200);
    let other = "POST / HTTP/1.1\r\nhost: a.test\r\norigin: http://b.test\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(raw(mesh.address(), other).await.status, 403);
    let own = "POST / HTTP/1.1\r\nhost: a.test\r\norigin: http://a.test\r\ncontent-length: 0\r\n\
               connection: close\r\n\r\n";
    assert_eq!(raw(mesh.address(), own).await.status, 200);
}

#[tokio::test]
async fn grpc_gets_a_status_it_understands_and_no_body() {
    let mesh = Mesh::start(&guarded("{ipDenyList: {cidrs: [127.0.0.0/8]}}", &[])).await;
    let mut client = Http2::plain(mesh.address()).await;
    let request =
        Request::post("http://a/s/m").header("content-type", "application/grpc").body(full("")).unwrap();
    let response = client.send(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/grpc");
    assert_eq!(response.headers()["grpc-status"], "7");
    assert_eq!(response.headers()["grpc-message"], "ip_denied");
    assert!(hyper::body::Body::is_end_stream(response.body()), "END_STREAM is on HEADERS");
}

#[tokio::test]
async fn shadow_mode_refuses_nobody() {
    let origin = Origin::named("a").await;
    let list = "{ipDenyList: {cidrs: [127.0.0.0/8], mode: Shadow}}";
    let mesh = Mesh::start(&guarded(list, &[origin.address])).await;
    assert_eq!(get(mesh.address(), "/").await.status, 200);
}
