use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairway_proxy::Options;
use fairway_proxy::telemetry::Telemetry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::{held_to, turned_away};
use crate::harness::{Http2, Mesh, Origin, get, read_one, within};

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// A connection that is served from this address, or `None`.
async fn served(address: SocketAddr, from: IpAddr) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from, 0)).unwrap();
    let mut tcp = within(socket.connect(address)).await.unwrap();
    tcp.write_all(GET).await.ok()?;
    let mut byte = [0];
    match within(tcp.read(&mut byte)).await {
        Ok(1) => Some(tcp),
        Ok(_) | Err(_) => None,
    }
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([127, 0, 0, last])
}

/// Waits until a connection is served again.
async fn served_again(address: SocketAddr, from: IpAddr) -> TcpStream {
    within(async {
        loop {
            if let Some(tcp) = served(address, from).await {
                return tcp;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

async fn mesh(options: Options, traffic: &str) -> (Mesh, Arc<Telemetry>, Origin) {
    let (origin, telemetry) = (Origin::named("a").await, Arc::new(Telemetry::default()));
    let mesh = Mesh::told(options, telemetry.clone(), &held_to(traffic, origin.address)).await;
    (mesh, telemetry, origin)
}

#[tokio::test]
async fn a_port_a_process_and_an_address_take_so_many_connections() {
    let all = Options { max_connections: 2, ..Options::new("gateway") };
    for (options, traffic, reason) in [
        (Options::new("gateway"), "{connection: {connectionLimit: {value: 2}}}", "connection_limit"),
        (Options::new("gateway"), "{limits: {connectionsPerAddress: 2}}", "address_limit"),
        (all, "{}", "global_limit"),
    ] {
        let (mesh, telemetry, _origin) = mesh(options, traffic).await;
        let one = served(mesh.address(), ip(1)).await.unwrap();
        let _two = served(mesh.address(), ip(1)).await.unwrap();
        assert!(served(mesh.address(), ip(1)).await.is_none(), "{reason}");
        assert_eq!(turned_away(&telemetry, reason), 1, "{reason}");
        assert_eq!(served(mesh.address(), ip(2)).await.is_some(), reason == "address_limit", "{reason}");
        drop(one);
        drop(served_again(mesh.address(), ip(1)).await);
    }
}

#[tokio::test]
async fn without_memory_connections_are_closed() {
    // What this process has is more than that.
    let options = Options { max_memory: Some(1 << 20), ..Options::new("gateway") };
    let (mesh, telemetry, _origin) = mesh(options, "{}").await;
    within(async {
        while served(mesh.address(), ip(1)).await.is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(turned_away(&telemetry, "memory") >= 1);
}

#[tokio::test]
async fn an_address_behind_a_proxy_is_counted_by_what_the_header_says() {
    let (mesh, telemetry, _origin) =
        mesh(Options::new("gateway"), "{proxyProtocol: {}, limits: {connectionsPerAddress: 1}}").await;
    let address = mesh.address();
    let says = |from: &'static str| async move {
        let mut tcp = TcpStream::connect(address).await.unwrap();
        tcp.write_all(format!("PROXY TCP4 {from} 198.51.100.1 1 2\r\n").as_bytes()).await.unwrap();
        tcp.write_all(GET).await.ok();
        let answered = within(tcp.read(&mut [0])).await.unwrap_or(0) == 1;
        (tcp, answered)
    };
    let (one, other, again) = (says("192.0.2.1").await, says("192.0.2.2").await, says("192.0.2.1").await);
    assert_eq!((one.1, other.1, again.1), (true, true, false));
    assert_eq!(turned_away(&telemetry, "address_limit"), 1);
}

#[tokio::test]
async fn what_is_more_is_closed_after_the_delay() {
    let (mesh, _, _origin) =
        mesh(Options::new("gateway"), "{connection: {connectionLimit: {value: 1, closeDelay: 400ms}}}").await;
    let _one = served(mesh.address(), ip(1)).await.unwrap();
    let begun = Instant::now();
    assert!(served(mesh.address(), ip(1)).await.is_none());
    assert!(begun.elapsed() >= Duration::from_millis(390), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_connection_takes_so_many_requests() {
    let (mesh, _, _origin) =
        mesh(Options::new("gateway"), "{connection: {connectionLimit: {maxRequestsPerConnection: 2}}}").await;
    let mut tcp = TcpStream::connect(mesh.address()).await.unwrap();
    for expected in ["keep-alive", "close"] {
        tcp.write_all(GET).await.unwrap();
        let answer = read_one(&mut tcp).await;
        assert_eq!((answer.status, answer.field("connection")), (200, Some(expected)));
    }
    assert_eq!(within(tcp.read(&mut [0])).await.unwrap(), 0);
    let mut http2 = Http2::plain(mesh.address()).await;
    for _ in 0..2 {
        assert_eq!(http2.get("http://a/").await.unwrap().status(), 200);
    }
    within(&mut http2.connection).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_connection_takes_requests_for_so_long() {
    let (mesh, _, _origin) =
        mesh(Options::new("gateway"), "{connection: {connectionLimit: {maxConnectionDuration: 500ms}}}")
            .await;
    let begun = Instant::now();
    let mut tcp = TcpStream::connect(mesh.address()).await.unwrap();
    let mut http2 = Http2::plain(mesh.address()).await;
    tcp.write_all(GET).await.unwrap();
    assert_eq!(read_one(&mut tcp).await.status, 200);
    assert_eq!(within(tcp.read(&mut [0])).await.unwrap(), 0);
    within(&mut http2.connection).await.unwrap().unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(490), "{:?}", begun.elapsed());
    assert_eq!(get(mesh.address(), "/").await.status, 200, "others are served");
}

#[tokio::test]
async fn a_client_that_does_not_answer_pings_is_closed_and_one_that_does_is_not() {
    let keepalive =
        "{http2: {connectionKeepalive: {interval: 1s, timeout: 200ms}}, timeout: {http: {idleTimeout: 0s}}}";
    let (mesh, _, _origin) = mesh(Options::new("gateway"), keepalive).await;
    let mut answers = Http2::plain(mesh.address()).await;
    let mut silent = TcpStream::connect(mesh.address()).await.unwrap();
    silent.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut heard = Vec::new();
    within(silent.read_to_end(&mut heard)).await.unwrap();
    assert!(heard.windows(5).any(|head| head == b"\0\0\x08\x06\0"), "a PING: {heard:?}");
    assert_eq!(answers.get("http://a/").await.unwrap().status(), 200);
}

#[tokio::test]
async fn the_first_listener_of_a_port_says_how_its_connections_are_treated() {
    let listener = |section: &str, host: &str, traffic: &str| {
        format!(
            "---\nkey: Listener/default/gw/{section}\nresource: {{kind: Listener, port: 0, protocol: HTTP, hostname: {host}, \
             scope: gateway, traffic: {traffic}}}\n"
        )
    };
    let mut mesh = Mesh::start("").await;
    let two = "{connection: {connectionLimit: {value: 2}}}";
    let same = listener("a", "a.test", two) + &listener("b", "b.test", two);
    assert_eq!(mesh.serve(&same).await.rejections, []);
    let answer = mesh.serve(&(listener("a", "a.test", two) + &listener("b", "b.test", "{}"))).await;
    assert_eq!(answer.rejections.len(), 1, "{answer:?}");
    let rejection = &answer.rejections[0];
    assert_eq!(
        (rejection.key.to_string().as_str(), rejection.severity),
        ("Listener/default/gw/b", config::Severity::Degraded)
    );
    assert!(rejection.message.contains("Listener/default/gw/a"), "{rejection:?}");
    assert_eq!(mesh.serve(&same).await.rejections, []);
}

#[tokio::test]
async fn what_cannot_be_enforced_refuses_the_listener_and_keeps_the_last_good_one() {
    let origin = Origin::named("a").await;
    let mut mesh = Mesh::start(&held_to("{}", origin.address)).await;
    let answer =
        mesh.serve(&held_to("{http2: {onInvalidMessage: TerminateConnection}}", origin.address)).await;
    assert_eq!(answer.rejections.len(), 1);
    assert!(answer.rejections[0].message.starts_with("traffic.http2.onInvalidMessage: "), "{answer:?}");
    assert_eq!(get(mesh.address(), "/").await.status, 200);
}
