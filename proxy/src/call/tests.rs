use std::net::SocketAddr;
use std::time::Duration;

use config::{AppProtocol, Backend, BackendRef, BackendTls, Endpoint, Endpoints, TrustedCa};
use http::header::{CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING};
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use self::server::{Authority, Server, until};
use super::*;

mod failures;
mod mirrors;
mod server;
mod tls;

fn cluster(spec: &Backend, addresses: &[SocketAddr]) -> Arc<Cluster> {
    let backend = BackendRef { namespace: "shop".into(), name: "cart".into(), port: 80 };
    let cluster = Cluster::new(backend, spec, Arc::default()).expect("valid");
    let endpoint = |address: &SocketAddr| Endpoint { address: *address, zone: None };
    cluster.set_endpoints(&Endpoints { endpoints: addresses.iter().map(endpoint).collect() });
    Arc::new(cluster)
}

fn plain(protocol: AppProtocol, addresses: &[SocketAddr]) -> Arc<Cluster> {
    cluster(&Backend { protocol, ..Backend::default() }, addresses)
}

fn request(method: &str, path: &str) -> RequestHeader {
    let mut head = RequestHeader::build(method, path.as_bytes(), None).expect("a head");
    head.insert_header(HOST, "cart.example").expect("a field");
    head
}

fn limits() -> Limits {
    Limits { deadline: Instant::now() + Duration::from_secs(10), body: 1 << 20, keep: true }
}

async fn get(net: &Net, cluster: &Arc<Cluster>, path: &str) -> Result<Reply, CallError> {
    net.call(cluster, &request("GET", path), None, limits()).await
}

/// An address nobody listens on.
async fn refusing() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("bound")
}

#[tokio::test]
async fn http1_connections_are_used_again() {
    let (net, server) = (Net::new(8), Server::echo(None).await);
    let cluster = plain(AppProtocol::Http, &[server.address]);
    for _ in 0..5 {
        let reply = get(&net, &cluster, "/status/201").await.expect("an answer");
        assert_eq!(reply.head.status, 201);
    }
    assert_eq!(server.connections(), 1);
    assert_eq!(cluster.in_flight(), 0);
}

#[tokio::test]
async fn fields_of_the_clients_connection_are_not_passed_on() {
    let (net, server) = (Net::new(8), Server::echo(None).await);
    let cluster = plain(AppProtocol::Http, &[server.address]);
    let mut head = request("POST", "/a?b=c");
    for (name, value) in [
        ("connection", "x-hop, keep-alive"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("te", "gzip"),
        ("transfer-encoding", "gzip, chunked"),
        ("expect", "100-continue"),
        ("x-kept", "yes"),
    ] {
        head.insert_header(name, value).expect("a field");
    }
    let body = Some(Body::full(Bytes::from_static(b"hello")));
    let reply = net.call(&cluster, &head, body, limits()).await.expect("an answer");
    assert_eq!(&*reply.body, b"hello");
    let seen = &server.seen()[0].head;
    assert_eq!(seen.uri, "/a?b=c");
    assert_eq!(seen.headers[HOST], "cart.example");
    assert_eq!(seen.headers["x-kept"], "yes");
    assert_eq!(seen.headers[TRANSFER_ENCODING], "chunked");
    for gone in ["x-hop", "keep-alive", "connection", "te", "expect"] {
        assert!(!seen.headers.contains_key(gone), "{gone}: {:?}", seen.headers);
    }
}

#[tokio::test]
async fn a_known_length_stays_and_a_wrong_one_without_body_goes() {
    let (net, server) = (Net::new(8), Server::echo(None).await);
    let cluster = plain(AppProtocol::Http, &[server.address]);
    let mut head = request("POST", "/");
    head.insert_header(CONTENT_LENGTH, "5").expect("a field");
    let body = Some(Body::full(Bytes::from_static(b"hello")));
    net.call(&cluster, &head, body, limits()).await.expect("an answer");
    net.call(&cluster, &head, None, limits()).await.expect("an answer, not a wait for five bytes");
    let seen = server.seen();
    assert_eq!(seen[0].head.headers[CONTENT_LENGTH], "5");
    assert!(!seen[1].head.headers.contains_key(CONTENT_LENGTH));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_head_from_http2_gets_a_host_on_http1() {
    let (net, server) = (Net::new(8), Server::echo(None).await);
    let cluster = plain(AppProtocol::Http, &[server.address]);
    let mut head = RequestHeader::build("GET", b"/", None).expect("a head");
    head.set_uri("https://cart.example/x?y".parse().expect("a target"));
    head.set_version(http::Version::HTTP_2);
    net.call(&cluster, &head, None, limits()).await.expect("an answer");
    let seen = &server.seen()[0].head;
    assert_eq!(
        (seen.uri.to_string().as_str(), &seen.headers[HOST]),
        ("/x?y", &"cart.example".parse().expect("value"))
    );
}

#[tokio::test]
async fn http2_in_plain_text_says_so_and_shares_a_connection() {
    let (net, server) = (Net::new(8), Server::echo(None).await);
    let cluster = plain(AppProtocol::H2c, &[server.address]);
    get(&net, &cluster, "/first").await.expect("an answer");
    let calls = (0..20).map(|_| get(&net, &cluster, "/more"));
    for reply in futures::future::join_all(calls).await {
        assert_eq!(reply.expect("an answer").head.status, 200);
    }
    let seen = &server.seen()[0].head;
    assert_eq!(seen.version, http::Version::HTTP_2);
    assert_eq!(seen.uri, "http://cart.example/first");
    assert!(server.connections() < 20, "{} connections for 20 calls", server.connections());
}

#[tokio::test]
async fn grpc_goes_as_http2_even_when_the_backend_is_not_said_to_speak_it() {
    let (net, server) = (Net::new(8), Server::echo(None).await);
    let cluster = plain(AppProtocol::Http, &[server.address]);
    let mut head = request("POST", "/shop.Cart/Get");
    head.insert_header("content-type", "application/grpc+proto").expect("a field");
    head.insert_header(TE, "trailers").expect("a field");
    let body = Some(Body::full(Bytes::from_static(b"\0\0\0\0\0")));
    net.call(&cluster, &head, body, limits()).await.expect("an answer");
    let seen = &server.seen()[0].head;
    assert_eq!(seen.version, http::Version::HTTP_2);
    assert_eq!(seen.headers[TE], "trailers");
}

#[tokio::test]
async fn a_body_arrives_whole_over_either_version() {
    let (net, server) = (Net::new(8), Server::echo(None).await);
    for protocol in [AppProtocol::Http, AppProtocol::H2c] {
        let cluster = plain(protocol, &[server.address]);
        let (sender, body) = Body::channel(2);
        let sends = async {
            for piece in 0..40u8 {
                assert!(sender.send(vec![piece; 10_000].into()).await);
            }
            sender.finish().await;
        };
        let head = request("PUT", "/");
        let (reply, ()) = tokio::join!(net.call(&cluster, &head, Some(body), limits()), sends);
        let body = reply.expect("an answer").body;
        let expected: Vec<u8> = (0..40u8).flat_map(|piece| vec![piece; 10_000]).collect();
        assert!(body == expected, "{protocol:?}: {} bytes", body.len());
    }
}

#[tokio::test]
async fn an_answer_that_is_too_large_ends_the_call() {
    let (net, server) = (Net::new(8), Server::echo(None).await);
    for protocol in [AppProtocol::Http, AppProtocol::H2c] {
        let cluster = plain(protocol, &[server.address]);
        let limits = Limits { body: 999, ..limits() };
        let body = || Some(Body::full(vec![7; 1_000].into()));
        let error = net.call(&cluster, &request("PUT", "/"), body(), limits).await.expect_err("too large");
        assert!(matches!(error, CallError::TooLarge(999)), "{error:?}");
        let limits = Limits { body: 1_000, ..limits };
        assert!(net.call(&cluster, &request("PUT", "/"), body(), limits).await.is_ok());
    }
}

#[tokio::test]
async fn the_deadline_ends_a_call_and_the_endpoint_is_blamed() {
    let (net, server) = (Net::new(8), Server::start(None, |_| std::future::pending()).await);
    for protocol in [AppProtocol::Http, AppProtocol::H2c] {
        let cluster = plain(protocol, &[server.address]);
        let limits = Limits { deadline: Instant::now() + Duration::from_millis(300), ..limits() };
        let error = net.call(&cluster, &request("GET", "/"), None, limits).await.expect_err("no answer");
        assert!(matches!(error, CallError::Timeout), "{error:?}");
        assert_eq!(cluster.in_flight(), 0);
        assert!(cluster.endpoints()[0].errors > 0.1, "{:?}", cluster.endpoints());
    }
}

#[tokio::test]
async fn a_cancelled_http2_call_frees_its_stream_and_its_connection_serves_on() {
    let server = Server::start(None, |seen| async move {
        if seen.head.uri.path() == "/slow" {
            std::future::pending::<()>().await;
        }
        http::Response::new(Full::default())
    });
    let (net, server) = (Net::new(8), server.await);
    let cluster = plain(AppProtocol::H2c, &[server.address]);
    get(&net, &cluster, "/").await.expect("a connection");
    // More than fit on one connection if their streams stayed.
    for _ in 0..150 {
        let head = request("GET", "/slow");
        let call = net.call(&cluster, &head, None, limits());
        let _ = tokio::time::timeout(Duration::from_millis(1), call).await;
    }
    get(&net, &cluster, "/").await.expect("an answer");
    assert!(server.connections() <= 3, "{} connections", server.connections());
    assert_eq!(cluster.endpoints()[0].errors, 0.0, "the endpoint is not blamed");
}

#[tokio::test]
async fn an_http2_session_that_is_broken_off_lets_its_connection_end_when_idle() {
    let (net, server) = (Net::new(8), Server::start(None, |_| std::future::pending()).await);
    let cluster = plain(AppProtocol::H2c, &[server.address]);
    let mut peer = cluster.pick(1, &[]).expect("one").peer(false, None);
    peer.options.idle_timeout = Some(Duration::from_millis(50));
    let (mut session, _) = net.connector.get_http_session(&*peer).await.expect("connected");
    let head = head::for_h2(&request("GET", "/"), false).expect("a head");
    session.write_request_header(Box::new(head)).await.expect("sent");
    drop(lease::Lease::new(&net.connector, &peer, session));
    until(|| server.connections() == 1 && server.open() == 0).await;
}

/// Serves each connection with a script: reads until `until` was seen, answers, and so on; then closes.
async fn scripted(scripts: Vec<Vec<(&'static str, &'static str)>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        for script in scripts {
            let Ok((mut tcp, _)) = listener.accept().await else { return };
            tokio::spawn(async move {
                for (expected, answer) in script {
                    let mut got = Vec::new();
                    while !String::from_utf8_lossy(&got).contains(expected) {
                        if !matches!(tcp.read_buf(&mut got).await, Ok(1..)) {
                            return;
                        }
                    }
                    if tcp.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn informational_answers_are_skipped() {
    let early = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\
                 content-length: 2\r\n\r\nok";
    let address = scripted(vec![vec![("\r\n\r\n", early)]]).await;
    let reply = get(&Net::new(8), &plain(AppProtocol::Http, &[address]), "/").await.expect("an answer");
    assert_eq!((reply.head.status.as_u16(), &*reply.body), (200, &b"ok"[..]));
}

#[tokio::test]
async fn a_kept_alive_connection_that_dies_is_replaced_for_a_get_only() {
    // The connection answers once, reads the next request and closes without a word.
    let dies = || vec![("\r\n\r\n", OK), ("\r\n\r\n", "")];
    let address = scripted(vec![dies(), dies(), dies()]).await;
    let (net, cluster) = (Net::new(8), plain(AppProtocol::Http, &[address]));
    get(&net, &cluster, "/1").await.expect("a new connection");
    get(&net, &cluster, "/2").await.expect("repeated on a new connection");
    let post = net.call(&cluster, &request("POST", "/3"), None, limits()).await;
    assert!(matches!(post, Err(CallError::Upstream(_))), "it may have been processed: {post:?}");
}

#[tokio::test]
async fn a_connection_whose_request_is_unfinished_is_not_used_again() {
    let poisoned = "HTTP/1.1 500 read as a part of the body before\r\ncontent-length: 0\r\n\r\n";
    let first = vec![("\r\n\r\n", OK), ("\r\n\r\n", poisoned)];
    let address = scripted(vec![first, vec![("\r\n\r\n", OK)]]).await;
    let (net, cluster) = (Net::new(8), plain(AppProtocol::Http, &[address]));
    let (sender, body) = Body::channel(4);
    assert!(sender.send(Bytes::from_static(b"the rest never comes")).await);
    net.call(&cluster, &request("POST", "/"), Some(body), limits()).await.expect("an early answer");
    drop(sender);
    let reply = get(&net, &cluster, "/").await.expect("an answer");
    assert_eq!(reply.head.status, 200, "on a connection of its own");
}

#[tokio::test]
async fn a_refused_connection_moves_on_whatever_the_method() {
    let (net, server) = (Net::new(8), Server::echo(None).await);
    let dead = [refusing().await, refusing().await];
    for method in ["GET", "POST"] {
        for _ in 0..10 {
            let cluster = plain(AppProtocol::Http, &[dead[0], server.address, dead[1]]);
            let body = Some(Body::full(Bytes::from_static(b"once")));
            let reply = net.call(&cluster, &request(method, "/"), body, limits()).await.expect("an answer");
            assert_eq!(&*reply.body, b"once");
        }
    }
    let cluster = plain(AppProtocol::Http, &dead);
    assert!(matches!(get(&net, &cluster, "/").await, Err(CallError::Upstream(_))));
    assert!(cluster.endpoints().iter().all(|endpoint| endpoint.is_shut));
    let none = plain(AppProtocol::Http, &[]);
    assert!(matches!(get(&net, &none, "/").await, Err(CallError::NoEndpoint(NoEndpoint::None))));
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_an_error_and_not_repeated() {
    let address =
        scripted(vec![vec![("\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n\r\n")], vec![("\r\n\r\n", OK)]]).await;
    let reply = get(&Net::new(8), &plain(AppProtocol::Http, &[address]), "/").await;
    assert!(matches!(reply, Err(CallError::Upstream(_))), "{reply:?}");
}

#[tokio::test]
async fn a_body_that_is_broken_off_is_not_passed_on_as_whole() {
    let (net, server) = (Net::new(8), Server::echo(None).await);
    for (count, protocol) in [(1, AppProtocol::Http), (2, AppProtocol::H2c)] {
        let cluster = plain(protocol, &[server.address]);
        let (sender, body) = Body::channel(4);
        assert!(sender.send(Bytes::from_static(b"half")).await);
        drop(sender);
        let error = net.call(&cluster, &request("POST", "/"), Some(body), limits()).await.expect_err("half");
        assert!(matches!(error, CallError::BrokenOff), "{error:?}");
        assert_eq!(server.wait(count).await[count - 1].body, None, "{protocol:?}");
    }
}
