use std::sync::atomic::Ordering;

use super::*;

fn counts(cluster: &Cluster) -> (u64, u64) {
    let mirrors = cluster.stats.counters().map(|counters| counters.mirrors());
    mirrors.map_or((0, 0), |[(_, sent), (_, dropped)]| (sent, dropped))
}

#[tokio::test]
async fn a_request_without_body_is_copied_with_its_host() {
    let (net, server) = (Net::new(8), Server::echo(None).await);
    let cluster = plain(AppProtocol::Http, &[server.address]);
    assert!(net.start_mirror(cluster.clone(), &request("GET", "/copy"), false, None).is_none());
    let seen = server.wait(1).await;
    assert_eq!(
        (seen[0].head.uri.path(), &seen[0].head.headers[HOST]),
        ("/copy", &"cart.example".parse().expect("v"))
    );
    assert_eq!(counts(&cluster), (1, 0));
    until(|| cluster.in_flight() == 0).await;
}

#[tokio::test]
async fn a_body_is_copied_whole() {
    let (net, server) = (Net::new(8), Server::echo(None).await);
    for (count, protocol) in [(1, AppProtocol::Http), (2, AppProtocol::H2c)] {
        let cluster = plain(protocol, &[server.address]);
        let mut mirror =
            net.start_mirror(cluster.clone(), &request("POST", "/"), true, None).expect("a body");
        for piece in 0..30u8 {
            mirror.push(vec![piece; 10_000].into());
            tokio::task::yield_now().await;
        }
        mirror.finish();
        let expected: Vec<u8> = (0..30u8).flat_map(|piece| vec![piece; 10_000]).collect();
        let body = server.wait(count).await[count - 1].body.clone().expect("whole");
        assert!(body == expected, "{protocol:?}: {} bytes", body.len());
        assert_eq!(counts(&cluster), (1, 0));
    }
    until(|| net.waiting.load(Ordering::Relaxed) == 0).await;
}

/// Accepts, and never reads nor answers.
async fn deaf() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((tcp, _)) = listener.accept().await {
            held.push(tcp);
        }
    });
    address
}

#[tokio::test]
async fn a_mirror_that_does_not_read_is_dropped_and_delays_nothing() {
    let (net, cluster) = (Net::new(8), plain(AppProtocol::Http, &[deaf().await]));
    let mut mirror = net.start_mirror(cluster.clone(), &request("POST", "/"), true, None).expect("a body");
    // `push` is not even async: nothing here can wait for the mirror. 64 MB are more than any buffer on the way.
    for _ in 0..1_000 {
        mirror.push(vec![0; 64_000].into());
        tokio::task::yield_now().await;
    }
    mirror.finish();
    assert_eq!(counts(&cluster), (0, 1));
    until(|| net.waiting.load(Ordering::Relaxed) == 0).await;
    assert_eq!(cluster.in_flight(), 0, "it does not wait for its deadline");
}

#[tokio::test]
async fn a_client_that_goes_away_breaks_its_copy_off() {
    let (net, server) = (Net::new(8), Server::echo(None).await);
    let cluster = plain(AppProtocol::Http, &[server.address]);
    let mut mirror = net.start_mirror(cluster.clone(), &request("POST", "/"), true, None).expect("a body");
    mirror.push(Bytes::from_static(b"half"));
    until(|| net.waiting.load(Ordering::Relaxed) == 0).await;
    drop(mirror);
    assert_eq!(server.wait(1).await[0].body, None, "not passed on as whole");
    assert_eq!(counts(&cluster), (0, 0));
}

#[tokio::test]
async fn mirrors_of_a_cluster_are_limited_and_those_beyond_are_dropped() {
    let (net, cluster) = (Net::new(8), plain(AppProtocol::Http, &[deaf().await]));
    for _ in 0..300 {
        assert!(net.start_mirror(cluster.clone(), &request("GET", "/"), false, None).is_none());
    }
    assert_eq!(counts(&cluster), (256, 44));
    assert!(cluster.in_flight() <= 256);
}

#[tokio::test]
async fn an_upgrade_is_not_copied() {
    let (net, server) = (Net::new(8), Server::echo(None).await);
    let cluster = plain(AppProtocol::Ws, &[server.address]);
    let mut head = request("GET", "/");
    head.insert_header("upgrade", "websocket").expect("a field");
    assert!(net.start_mirror(cluster.clone(), &head, false, None).is_none());
    assert_eq!(counts(&cluster), (0, 1));
}

#[tokio::test]
async fn a_large_answer_to_a_copy_is_not_read_to_its_end() {
    let server =
        Server::start(None, |_| async { http::Response::new(Full::new(vec![0; 8 << 20].into())) }).await;
    let (net, cluster) = (Net::new(8), plain(AppProtocol::Http, &[server.address]));
    assert!(net.start_mirror(cluster.clone(), &request("GET", "/"), false, None).is_none());
    server.wait(1).await;
    until(|| cluster.in_flight() == 0).await;
}
