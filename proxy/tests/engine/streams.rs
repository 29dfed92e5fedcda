//! Whole connections: TCPRoute.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fairway_proxy::Options;
use fairway_proxy::telemetry::{AccessLog, Format, Settings, Telemetry, render};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::harness::{Mesh, Peer, backend, nobody, split, stream_listener, stream_route, within};

fn tcp() -> String {
    stream_listener("tcp", "TCP", 0, "")
}

fn route(action: &str) -> String {
    stream_route("TcpRoute", "r", "tcp", "*", action)
}

fn to(addresses: &[SocketAddr]) -> String {
    tcp() + &backend("a", "http", addresses) + &route(&split(&[("a", 1)]))
}

/// Connects, and reads the name of who answers.
async fn greeted(address: SocketAddr) -> std::io::Result<(TcpStream, char)> {
    let mut tcp = TcpStream::connect(address).await?;
    let mut name = [0];
    within(tcp.read_exact(&mut name)).await?;
    Ok((tcp, char::from(name[0])))
}

async fn says(tcp: &mut TcpStream, text: &str) -> std::io::Result<()> {
    tcp.write_all(text.as_bytes()).await?;
    let mut heard = vec![0; text.len()];
    within(tcp.read_exact(&mut heard)).await?;
    assert_eq!(heard, text.as_bytes());
    Ok(())
}

fn is_reset<T: std::fmt::Debug>(result: std::io::Result<T>) {
    assert_eq!(result.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn all_bytes_arrive_both_ways_when_the_client_ends_first() {
    let peer = Peer::start(|mut tcp| async move {
        // Slower than the client sends: everything in between fills up.
        let mut all = Vec::new();
        tcp.read_to_end(&mut all).await.unwrap();
        tcp.write_all(&all).await.unwrap();
    })
    .await;
    let mesh = Mesh::start(&to(&[peer.address])).await;
    let mut tcp = TcpStream::connect(mesh.address()).await.unwrap();
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    tcp.write_all(&sent).await.unwrap();
    tcp.shutdown().await.unwrap();
    let mut heard = Vec::new();
    within(tcp.read_to_end(&mut heard)).await.unwrap();
    assert!(heard == sent, "{} of {} bytes", heard.len(), sent.len());
}

#[tokio::test]
async fn a_backend_that_ends_first_still_hears_the_client() {
    let (heard, mut hears) = mpsc::channel(1);
    let peer = Peer::start(move |mut tcp| {
        let heard = heard.clone();
        async move {
            tcp.write_all(b"hello").await.unwrap();
            tcp.shutdown().await.unwrap();
            let mut all = String::new();
            tcp.read_to_string(&mut all).await.unwrap();
            heard.send(all).await.unwrap();
        }
    })
    .await;
    let mesh = Mesh::start(&to(&[peer.address])).await;
    let mut tcp = TcpStream::connect(mesh.address()).await.unwrap();
    let mut all = String::new();
    within(tcp.read_to_string(&mut all)).await.unwrap();
    assert_eq!(all, "hello");
    tcp.write_all(b"late").await.unwrap();
    tcp.shutdown().await.unwrap();
    assert_eq!(within(hears.recv()).await.unwrap(), "late");
}

#[tokio::test]
async fn a_backend_that_resets_is_no_backend_that_ends() {
    let peer = Peer::start(|mut tcp| async move {
        tcp.write_all(b"x").await.unwrap();
        let _ = tcp.read(&mut [0]).await;
        tcp.set_zero_linger().unwrap();
    })
    .await;
    let mesh = Mesh::start(&to(&[peer.address])).await;
    let (mut tcp, _) = greeted(mesh.address()).await.unwrap();
    tcp.write_all(b"reset").await.unwrap();
    is_reset(within(tcp.read_to_end(&mut Vec::new())).await);
}

#[tokio::test]
async fn a_client_that_resets_is_no_client_that_ends() {
    let (seen, mut sees) = mpsc::channel(1);
    let peer = Peer::start(move |mut tcp| {
        let seen = seen.clone();
        async move {
            tcp.write_all(b"x").await.unwrap();
            seen.send(tcp.read(&mut [0]).await.map_err(|error| error.kind())).await.unwrap();
        }
    })
    .await;
    let mesh = Mesh::start(&to(&[peer.address])).await;
    let (tcp, _) = greeted(mesh.address()).await.unwrap();
    tcp.set_zero_linger().unwrap();
    drop(tcp);
    assert_eq!(within(sees.recv()).await.unwrap(), Err(ErrorKind::ConnectionReset));
    let (tcp, _) = greeted(mesh.address()).await.unwrap();
    drop(tcp);
    assert_eq!(within(sees.recv()).await.unwrap(), Ok(0));
}

#[tokio::test]
async fn an_endpoint_that_takes_no_connection_gives_way_to_another() {
    let peer = Peer::echo("a").await;
    let mesh = Mesh::start(&to(&[nobody().await, nobody().await, peer.address])).await;
    for _ in 0..10 {
        assert_eq!(greeted(mesh.address()).await.unwrap().1, 'a');
    }
    assert_eq!(peer.connections(), 10);
}

#[tokio::test]
async fn connections_are_shared_by_weight_and_those_of_an_invalid_backend_are_reset() {
    let (a, b, c) = (Peer::echo("a").await, Peer::echo("b").await, Peer::echo("c").await);
    let mut action = split(&[("a", 2), ("b", 1), ("c", 0)]);
    action.truncate(action.len() - 2);
    action.push_str("{target: {invalid: {message: not granted}}, weight: 1}]}");
    let backends: String =
        [("a", &a), ("b", &b), ("c", &c)].map(|(name, peer)| backend(name, "http", &[peer.address])).concat();
    let mesh = Mesh::start(&(tcp() + &backends + &route(&action))).await;
    let mut resets = 0;
    for _ in 0..40 {
        match greeted(mesh.address()).await {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                resets += 1;
            }
        }
    }
    assert_eq!((a.connections(), b.connections(), c.connections(), resets), (20, 10, 0, 10));
}

#[tokio::test]
async fn a_connection_without_a_way_is_reset() {
    let mut mesh = Mesh::start(&tcp()).await;
    for (what, yaml) in [
        ("no route", String::new()),
        ("a rule that fails", route("{fail: {message: broken}}")),
        ("no backend", route("{forward: []}")),
        ("no endpoint", backend("a", "http", &[]) + &route(&split(&[("a", 1)]))),
        ("nobody there", backend("a", "http", &[nobody().await]) + &route(&split(&[("a", 1)]))),
    ] {
        assert_eq!(mesh.serve(&(tcp() + &yaml)).await.rejections, [], "{what}");
        is_reset(greeted(mesh.address()).await);
    }
}

#[tokio::test]
async fn a_change_breaks_no_connection() {
    let (a, b) = (Peer::echo("a").await, Peer::echo("b").await);
    let mut mesh = Mesh::start(&to(&[a.address])).await;
    let (mut old, _) = greeted(mesh.address()).await.unwrap();
    says(&mut old, "one").await.unwrap();
    // The endpoint goes; then the route points elsewhere; then it is gone.
    mesh.serve(&to(&[b.address])).await;
    says(&mut old, "two").await.unwrap();
    let other = tcp() + &backend("b", "http", &[b.address]) + &route(&split(&[("b", 1)]));
    mesh.serve(&other).await;
    says(&mut old, "three").await.unwrap();
    assert_eq!(greeted(mesh.address()).await.unwrap().1, 'b');
    mesh.serve(&tcp()).await;
    says(&mut old, "four").await.unwrap();
    is_reset(greeted(mesh.address()).await);
}

#[tokio::test]
async fn of_two_routes_the_older_one_is_served() {
    let (a, b) = (Peer::echo("a").await, Peer::echo("b").await);
    let yaml = tcp()
        + &backend("a", "http", &[a.address])
        + &backend("b", "http", &[b.address])
        + &stream_route("TcpRoute", "x", "tcp", "*", &split(&[("a", 1)]))
        + &stream_route("TcpRoute", "w", "tcp", "*", &split(&[("b", 1)]));
    let younger = yaml.replace(
        "key: TcpRoute/default/w\nresource:\n",
        "key: TcpRoute/default/w\nresource:\n  created: 5\n",
    );
    let mut mesh = Mesh::start(&younger).await;
    assert_eq!(greeted(mesh.address()).await.unwrap().1, 'a');
    mesh.serve(&yaml).await;
    assert_eq!(greeted(mesh.address()).await.unwrap().1, 'b', "as old: the first by name");
}

#[tokio::test]
async fn a_backends_connection_limit_holds() {
    let peer = Peer::echo("a").await;
    let limited = to(&[peer.address]).replace("protocol: http}", "protocol: http, maxConnections: 1}");
    let mesh = Mesh::start(&limited).await;
    let (first, _) = greeted(mesh.address()).await.unwrap();
    is_reset(greeted(mesh.address()).await);
    drop(first);
    within(async {
        while greeted(mesh.address()).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_drain_lets_connections_end_and_cuts_those_that_do_not() {
    let peer = Peer::echo("a").await;
    let options = Options { drain: Duration::from_millis(500), ..Options::new("gateway") };
    let mesh = Mesh::with(options, &to(&[peer.address])).await;
    let address = mesh.address();
    let (mut kept, _) = greeted(address).await.unwrap();
    let draining = tokio::spawn(mesh.proxy.drain());
    within(async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    is_reset(within(kept.read_to_end(&mut Vec::new())).await);
    within(draining).await.unwrap();
}

#[tokio::test]
async fn a_removed_listener_finishes_what_it_has() {
    let peer = Peer::echo("a").await;
    let mut mesh = Mesh::start(&to(&[peer.address])).await;
    let address = mesh.address();
    let (mut kept, _) = greeted(address).await.unwrap();
    mesh.serve("").await;
    within(async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    says(&mut kept, "still there").await.unwrap();
}

#[tokio::test]
async fn connections_are_counted_by_route() {
    let peer = Peer::echo("a").await;
    let telemetry = Arc::new(Telemetry::default());
    let mut mesh = Mesh::told(Options::new("gateway"), telemetry.clone(), &to(&[peer.address])).await;
    let (mut open, _) = greeted(mesh.address()).await.unwrap();
    says(&mut open, "1234").await.unwrap();
    let (mut done, _) = greeted(mesh.address()).await.unwrap();
    done.shutdown().await.unwrap();
    within(done.read_to_end(&mut Vec::new())).await.unwrap();
    let labels = r#"kind="TCPRoute",route="default/r",rule="0""#;
    let wanted = [
        format!("fairway_stream_connections_total{{role=\"\",{labels},reason=\"ok\"}} 1"),
        format!("fairway_stream_connections_open{{role=\"\",{labels}}} 1"),
        format!("fairway_stream_bytes_total{{role=\"\",{labels},direction=\"in\"}} 4"),
        format!("fairway_stream_bytes_total{{role=\"\",{labels},direction=\"out\"}} 6"),
        "protocol=\"tcp\"} 1".to_owned(),
    ];
    shows(&telemetry, &wanted).await;
    mesh.serve(&tcp()).await;
    is_reset(greeted(mesh.address()).await);
    let unmatched = "fairway_unmatched_connections_total{role=\"\",listener=\"default/gw/tcp\",reason=\"route_not_found\"} 1";
    shows(&telemetry, &[unmatched.to_owned()]).await;
}

#[tokio::test]
async fn each_connection_has_one_line_in_the_log() {
    let peer = Peer::echo("a").await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let settings = Settings { access_log: AccessLog::File(path.clone()), ..Settings::default() };
    let telemetry = Telemetry::new("gateway", &settings).unwrap();
    let mut mesh = Mesh::told(Options::new("gateway"), telemetry.clone(), &to(&[peer.address])).await;
    let (mut whole, _) = greeted(mesh.address()).await.unwrap();
    says(&mut whole, "1234").await.unwrap();
    whole.shutdown().await.unwrap();
    within(whole.read_to_end(&mut Vec::new())).await.unwrap();
    mesh.serve(&(tcp() + &backend("a", "http", &[]) + &route(&split(&[("a", 1)])))).await;
    is_reset(greeted(mesh.address()).await);
    mesh.serve(&tcp()).await;
    is_reset(greeted(mesh.address()).await);
    within(mesh.proxy.drain()).await;
    telemetry.flush();
    let log = std::fs::read_to_string(path).unwrap();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said = |field: &str| lines.iter().map(|line| line[field].to_string()).collect::<Vec<_>>().join(" ");
    assert_eq!(said("reason"), r#""ok" "no_endpoints" "route_not_found""#, "{log}");
    assert_eq!(said("route"), r#""default/r" "default/r" null"#);
    assert_eq!(said("listener"), r#""default/gw/tcp" "default/gw/tcp" "default/gw/tcp""#);
    assert_eq!(said("upstream"), format!("\"{}\" null null", peer.address));
    assert_eq!((said("bytes_in"), said("bytes_out")), ("4 0 0".to_owned(), "5 0 0".to_owned()));
    assert_eq!(said("attempts"), "1 0 0");
}

/// The end of a connection is counted a moment after its client sees it.
async fn shows(telemetry: &Arc<Telemetry>, wanted: &[String]) {
    let mut text = String::new();
    let shown = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            text.clear();
            render(std::slice::from_ref(telemetry), Format::Text, &mut text).unwrap();
            if wanted.iter().all(|line| text.contains(line)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(shown.await.is_ok(), "{wanted:#?}\n{text}");
}
