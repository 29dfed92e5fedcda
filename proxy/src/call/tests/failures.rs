//! Pingora's and h2's real errors, read by `attempt::Failure`.

use std::sync::atomic::Ordering;

use super::*;
use crate::attempt::{Sent, Stage};

#[tokio::test]
async fn a_head_that_cannot_be_written_was_not_processed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let cluster = plain(AppProtocol::Http, &[listener.local_addr().expect("bound")]);
    let (net, peer) = (Net::new(1), cluster.pick(1, &[]).expect("one").peer(false, None));
    let (mut session, reused) = net.connector.get_http_session(&*peer).await.expect("connected");
    let (tcp, _) = listener.accept().await.expect("a connection");
    // A reset instead of a close: the next write of the client fails.
    tcp.set_zero_linger().expect("set");
    drop(tcp);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let error = session.write_request_header(Box::new(request("POST", "/"))).await.expect_err("reset");
    assert_eq!(
        Failure::of(&error, Stage::Connected { reused }),
        (Failure::Closed { reused: false }, Sent::Nothing),
        "{error}"
    );
}

#[tokio::test]
async fn a_stream_that_http2_refuses_is_repeated_for_a_post_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let cluster = plain(AppProtocol::H2c, &[listener.local_addr().expect("bound")]);
    let streams = Arc::new(AtomicUsize::new(0));
    let seen = streams.clone();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let seen = seen.clone();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(tcp).await.expect("HTTP/2");
                while let Some(Ok((_, mut answer))) = connection.accept().await {
                    if seen.fetch_add(1, Ordering::SeqCst) == 0 {
                        answer.send_reset(h2::Reason::REFUSED_STREAM);
                    } else {
                        answer.send_response(http::Response::new(()), true).expect("an answer");
                    }
                }
            });
        }
    });
    let reply = Net::new(1).call(&cluster, &request("POST", "/"), None, limits()).await.expect("repeated");
    assert_eq!((reply.head.status.as_u16(), streams.load(Ordering::SeqCst)), (200, 2));
}

#[tokio::test]
async fn a_stream_that_http2_resets_otherwise_is_not_repeated_for_a_post() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let cluster = plain(AppProtocol::H2c, &[listener.local_addr().expect("bound")]);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let mut connection = h2::server::handshake(tcp).await.expect("HTTP/2");
            while let Some(Ok((_, mut answer))) = connection.accept().await {
                answer.send_reset(h2::Reason::INTERNAL_ERROR);
            }
        }
    });
    let reply = Net::new(1).call(&cluster, &request("POST", "/"), None, limits()).await;
    assert!(matches!(reply, Err(CallError::Upstream(_))), "{reply:?}");
}
