use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use config::{Backend, BackendRef, Endpoint, Endpoints};
use parking_lot::Mutex;
use policies::jwt::{KeySet, LARGEST_SET};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::fetch::FetchError;
use super::source::Source;
use super::*;

/// An issuer that answers every request with what it is told to; empty: with nothing.
struct Issuer {
    address: SocketAddr,
    answer: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Issuer {
    async fn start(answer: &str) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, asked) = (socket.local_addr().unwrap(), Arc::<AtomicUsize>::default());
        let answer = Arc::new(Mutex::new(answer.to_owned()));
        let (say, count) = (answer.clone(), asked.clone());
        let task = tokio::spawn(async move {
            loop {
                let Ok((mut tcp, _)) = socket.accept().await else { continue };
                let (say, count) = (say.clone(), count.clone());
                tokio::spawn(async move {
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") {
                        if tcp.read_buf(&mut request).await.is_ok_and(|read| read == 0) {
                            return;
                        }
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                    let answer = say.lock().clone();
                    if answer.is_empty() {
                        sleep(Duration::from_secs(60)).await;
                    }
                    let _ = tcp.write_all(answer.as_bytes()).await;
                });
            }
        });
        Self { address, answer, asked, task }
    }

    fn says(&self, answer: &str) {
        answer.clone_into(&mut self.answer.lock());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    fn cluster(&self) -> Arc<Cluster> {
        let backend = BackendRef { namespace: "ns".into(), name: "issuer".into(), port: 80 };
        let cluster = Cluster::new(backend, &Backend::default(), Arc::default()).unwrap();
        let endpoints = vec![Endpoint { address: self.address, zone: None }];
        cluster.set_endpoints(&Endpoints { endpoints });
        Arc::new(cluster)
    }
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

/// A set with one key of this name; which key does not matter.
fn set(kid: &str) -> String {
    format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"{}"}}]}}"#, "A".repeat(43))
}

fn ok(kid: &str) -> String {
    answer("200 OK", &set(kid))
}

fn remote(cached: &str) -> RemoteJwks {
    let backend = serde_json::json!({ "namespace": "ns", "name": "issuer", "port": 80 });
    serde_json::from_value(serde_json::json!({
        "uri": "http://issuer.test/keys?secret", "backendRefs": [backend], "cacheDuration": cached, "failedRefetchDuration": "100ms",
    }))
    .unwrap()
}

fn store() -> Arc<KeyStore> {
    KeyStore::start(Handle::current(), Net::new(2))
}

/// Waits until something is so.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn keys_are_there_before_anybody_asks_and_are_fetched_again_in_time() {
    let issuer = Issuer::start(&ok("a")).await;
    let keys = store().keys(remote("1s"), vec![issuer.cluster()]);
    until("keys", || keys.current().is_some()).await;
    let first = keys.current().unwrap();
    until("a second fetch", || issuer.asked() >= 2).await;
    assert!(Arc::ptr_eq(&first, &keys.current().unwrap()), "the same keys keep what they have verified");
    issuer.says(&ok("b"));
    until("new keys", || *keys.current().unwrap() != *first).await;
}

#[tokio::test]
async fn a_fetch_that_fails_changes_nothing() {
    let issuer = Issuer::start(&ok("a")).await;
    let store = store();
    let keys = store.keys(remote("1s"), vec![issuer.cluster()]);
    until("keys", || keys.current().is_some()).await;
    let first = keys.current().unwrap();
    let secret = set("a").replace("\"kty\"", "\"d\":\"AQAB\",\"kty\"");
    let twice = set("a").replace("[{", &format!("[{},{{", &set("a")[9..set("a").len() - 2]));
    let huge = format!("{}{}", set("b"), " ".repeat(LARGEST_SET));
    for bad in [
        answer("500 Internal Server Error", &set("b")),
        answer("204 No Content", ""),
        answer("200 OK", "<html>"),
        answer("200 OK", &secret),
        answer("200 OK", &twice),
        answer("200 OK", r#"{"keys":[]}"#),
        answer("200 OK", &huge),
        format!(
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{}/keys\r\ncontent-length: 0\r\n\r\n",
            issuer.address.port()
        ),
        "HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n{".to_owned(),
        "nonsense\r\n\r\n".to_owned(),
    ] {
        let failed = || store.counts().values().next().unwrap().failed;
        let before = failed();
        issuer.says(&bad);
        until("a failure", || failed() > before).await;
        assert!(Arc::ptr_eq(&first, &keys.current().unwrap()), "{bad:.80}");
        issuer.says(&ok("a"));
        let good = store.counts().values().next().unwrap().fetched;
        until("recovery", || store.counts().values().next().unwrap().fetched > good).await;
    }
    let counts = store.counts();
    let (uri, counts) = counts.iter().next().unwrap();
    assert_eq!(uri, "http://issuer.test/keys", "a query may be secret");
    assert!(
        counts.age.is_some_and(|age| age < 20.0) && counts.failed >= 10 && counts.fetched >= 11,
        "{counts:?}"
    );
}

#[tokio::test]
async fn without_keys_a_request_waits_for_the_first_fetch_and_no_longer() {
    let issuer = Issuer::start(&answer("500 Internal Server Error", "")).await;
    let keys = store().keys(remote("1s"), vec![issuer.cluster()]);
    let first = keys.clone().wanted(keys.current().as_ref()).expect("the first fetch is under way");
    timeout(Duration::from_secs(10), first).await.expect("it has ended");
    assert!(keys.current().is_none());
    let mut refused = 0;
    for _ in 0..200 {
        refused += usize::from(keys.clone().wanted(keys.current().as_ref()).is_none());
        sleep(Duration::from_millis(1)).await;
    }
    assert!(refused > 0, "nobody waits for the next");
    issuer.says(&ok("a"));
    until("keys", || keys.current().is_some()).await;
}

#[tokio::test]
async fn a_slow_issuer_holds_nobody_for_more_than_two_seconds() {
    let issuer = Issuer::start("").await;
    let keys = store().keys(remote("1s"), vec![issuer.cluster()]);
    let since = Instant::now();
    keys.clone().wanted(keys.current().as_ref()).expect("the first fetch is under way").await;
    let waited = since.elapsed();
    assert!((Duration::from_millis(1900)..Duration::from_secs(4)).contains(&waited), "{waited:?}");
    assert!(keys.current().is_none());
}

/// F14 c: ten thousand tokens with names made up.
#[tokio::test]
async fn unknown_keys_are_asked_for_once_in_thirty_seconds() {
    let issuer = Issuer::start(&ok("a")).await;
    let keys = store().keys(remote("1h"), vec![issuer.cluster()]);
    until("keys", || keys.current().is_some()).await;
    issuer.says(&ok("b"));
    let first = keys.current().unwrap();
    let waits: Vec<_> = (0..100).filter_map(|_| keys.clone().wanted(keys.current().as_ref())).collect();
    assert_eq!(waits.len(), 100, "all of them wait for the same fetch");
    for wait in waits {
        wait.await;
    }
    assert_ne!(*first, *keys.current().unwrap(), "the new key is there at once");
    keys.clone().wanted(Some(&first)).expect("others are there").await;
    let more = (0..10_000).filter(|_| keys.clone().wanted(keys.current().as_ref()).is_some()).count();
    assert_eq!((more, issuer.asked()), (0, 2));
}

#[tokio::test]
async fn not_everybody_may_wait() {
    let issuer = Issuer::start("").await;
    let keys = store().keys(remote("1s"), vec![issuer.cluster()]);
    let waits: Vec<_> = (0..2000).filter_map(|_| keys.clone().wanted(keys.current().as_ref())).collect();
    assert_eq!(waits.len(), 1024);
    drop(waits);
    assert!(keys.wanted(None).is_some());
}

#[tokio::test]
async fn a_source_is_shared_outlives_a_change_of_times_and_ends_with_its_last_filter() {
    let issuer = Issuer::start(&ok("a")).await;
    let store = store();
    let keys = store.keys(remote("1h"), vec![issuer.cluster()]);
    assert!(Arc::ptr_eq(&keys, &store.keys(remote("1h"), vec![issuer.cluster()])));
    until("keys", || keys.current().is_some()).await;
    issuer.says(&answer("500 Internal Server Error", ""));
    let sibling = store.keys(remote("1s"), vec![issuer.cluster()]);
    assert!(Arc::ptr_eq(&keys.current().unwrap(), &sibling.current().unwrap()));
    assert_eq!(store.counts().len(), 1, "one address");
    drop((keys, sibling));
    sleep(Duration::from_millis(50)).await;
    let asked = issuer.asked();
    sleep(Duration::from_millis(1200)).await;
    assert_eq!(issuer.asked(), asked);
    assert_eq!(store.counts().len(), 0);
}

#[tokio::test]
async fn backends_are_asked_in_their_order() {
    let (down, up) =
        (Issuer::start(&answer("500 Internal Server Error", "")).await, Issuer::start(&ok("a")).await);
    let keys = store().keys(remote("1h"), vec![down.cluster(), up.cluster()]);
    until("keys", || keys.current().is_some()).await;
    assert_eq!((down.asked(), up.asked()), (1, 1));
}

#[tokio::test]
async fn a_uri_without_a_backend_does_not_lead_to_this_machine() {
    let mut own = remote("1h");
    own.backend_refs.clear();
    for (uri, is_forbidden) in [("https://localhost/keys", true), ("http://issuer.test/keys", false)] {
        own.uri = uri.into();
        let source = Source::new(own.clone(), Vec::new(), None);
        let error = Fetcher::new(Net::new(1)).fetch(&source).await.err().unwrap();
        assert_eq!(matches!(error, FetchError::Forbidden(_)), is_forbidden, "{error}");
        assert!(matches!(error, FetchError::Forbidden(_) | FetchError::Uri(_)), "{error}");
    }
}

/// F14 a: nothing is refused for a day, everything after it.
#[tokio::test(start_paused = true)]
async fn the_last_good_keys_are_used_up_to_their_limit() {
    let source = Source::new(remote("5m"), Vec::new(), None);
    let good = || Ok(KeySet::parse(set("a").as_bytes()).unwrap());
    let hour = Duration::from_hours(1);
    let mut pause = source.took(good());
    assert!((Duration::from_mins(4)..=Duration::from_mins(5)).contains(&pause), "{pause:?}");
    for at in 0..24 {
        tokio::time::advance(hour).await;
        pause = source.took(Err(FetchError::Late));
        assert_eq!(source.counts().age, Some(3600.0 * f64::from(at + 1)));
    }
    assert!((Duration::from_secs(48)..=Duration::from_secs(60)).contains(&pause), "{pause:?}");
    assert!(source.current().is_some());
    tokio::time::advance(Duration::from_secs(1)).await;
    let _ = source.took(Err(FetchError::Late));
    assert!(source.current().is_none());
    assert_eq!(source.counts().age, None);
    let pause = source.took(good());
    assert!(source.current().is_some() && pause > Duration::from_mins(3));
    let pause = source.took(Err(FetchError::Late));
    assert!(pause <= Duration::from_millis(100), "the first pause after success is short: {pause:?}");
}
