//! A Redis that is not there, does not answer, or does not know us.

use std::time::{Duration, Instant};

use fairway_config::Redacted;
use fairway_config::redis::{Redis, RedisSettings};
use rcgen::{CertificateParams, KeyPair};
use redis::Pipeline;
use tonic::Code;

use crate::ask::{Asker, store};
use crate::server::{PATIENCE, Server, settings, until};

/// Asks until there is an answer.
async fn answers(asker: &Asker, value: &str) -> bool {
    let began = Instant::now();
    loop {
        match asker.may("tenant", value).await {
            Ok(may) => return may,
            Err(_) => assert!(began.elapsed() < PATIENCE, "it does not come back"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Asks so often that a server which is away is known to be, and then that it costs nothing.
async fn costs_nothing(asker: &Asker) {
    for _ in 0..20 {
        assert_eq!(asker.may("tenant", "a").await, Err(Code::Unavailable));
    }
    let began = Instant::now();
    for _ in 0..500 {
        assert_eq!(asker.may("tenant", "a").await, Err(Code::Unavailable));
    }
    // With the timeout it would be ten seconds.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

async fn service(server: &Server, timeout: Duration) -> Asker {
    Asker::of(store(server.connect().await, timeout)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_killed_is_an_error_at_once_and_counts_again_when_it_is_back() {
    let mut server = Server::start(&[]);
    let asker = service(&server, PATIENCE).await;
    assert_eq!(asker.may("tenant", "a").await, Ok(true));
    server.kill();
    costs_nothing(&asker).await;
    server.again();
    assert!(answers(&asker, "a").await, "it is empty");
    assert_eq!((asker.may("tenant", "a").await, asker.may("tenant", "a").await), (Ok(true), Ok(true)));
    assert_eq!(asker.may("tenant", "a").await, Ok(false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_does_not_answer_is_an_error_in_time_and_then_at_once() {
    let server = Server::start(&[]);
    let asker = service(&server, Duration::from_millis(20)).await;
    assert!(answers(&asker, "a").await);
    server.signal("STOP");
    let began = Instant::now();
    assert_eq!(asker.may("tenant", "a").await, Err(Code::Unavailable));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    costs_nothing(&asker).await;
    server.signal("CONT");
    // What it was asked meanwhile it may have counted: nobody gets more.
    answers(&asker, "a").await;
    assert!(answers(&asker, "b").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_begins_before_its_redis() {
    let mut server = Server::start(&[]);
    server.kill();
    let asker = Asker::of(store(Redis::open(&settings(&server.url())).unwrap(), PATIENCE)).await;
    assert_eq!(asker.may("tenant", "a").await, Err(Code::Unavailable));
    assert_eq!(asker.may("unknown", "a").await, Ok(true), "no limit, nothing to count");
    server.again();
    assert!(answers(&asker, "a").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_to_a_command_is_one_to_whoever_asks() {
    let server = Server::start(&["--maxmemory", "1", "--maxmemory-policy", "noeviction"]);
    let asker = service(&server, PATIENCE).await;
    assert_eq!(asker.may("tenant", "a").await, Err(Code::Unavailable));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_that_of_its_file_or_of_the_url() {
    let server = Server::start(&["--requirepass", "s3cret/?"]);
    let named = format!("redis://:s3cret%2F%3F@127.0.0.1:{}/1", server.port);
    let filed = RedisSettings { password: Some(Redacted::new("s3cret/?")), ..settings(&server.url()) };
    for right in [filed, settings(&named)] {
        let redis = Redis::open(&right).unwrap();
        until("a connection", || redis.is_connected()).await;
        assert!(!format!("{right:?} {redis:?}").contains("s3cret"));
    }
    let wrong = Redis::open(&settings(&server.url())).unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!wrong.is_connected());
    assert!(Redis::open(&settings("http://127.0.0.1")).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_holds_the_server_to_the_authority() {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("key.pem"), key.serialize_pem()).unwrap();
    std::fs::write(dir.path().join("cert.pem"), certificate.pem()).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let more = ["--tls-port", &port.to_string(), "--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem"];
    let more = [&more[..], &["--tls-auth-clients", "no"]].concat();
    let _server = Server::start_in(dir, 0, &more);
    let url = format!("rediss://localhost:{port}/0");
    let trusting = RedisSettings { authority: Some(certificate.pem().into_bytes()), ..settings(&url) };
    let redis = Redis::open(&trusting).unwrap();
    until("a connection", || redis.is_connected()).await;
    let mut ping = Pipeline::new();
    ping.cmd("PING");
    assert_eq!(redis.ask::<(String,)>(&ping, PATIENCE).await.unwrap().0, "PONG");
    let other = Redis::open(&settings(&url)).unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!other.is_connected());
}
