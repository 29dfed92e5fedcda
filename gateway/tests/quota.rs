//! Several gateways, each a process, that hold one limit together by shares of a quota server over TLS: in sum, when the server
//! is killed, and when it is back.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::identity::{Authenticate, Authority, GatewayRef, Identity, ProxyId, Refusal, Role};
use config::load::Loads;
use config::quota::{Quotas, ServerOptions};
use config::xds::{Hub, Server, ServerTls};
use config::{Generation, Redacted, Resources};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

mod support;

use self::support::{backend, free_port};

const PATIENCE: Duration = Duration::from_secs(60);
const GATEWAYS: usize = 3;
/// Requests in a second, and at once.
const LIMIT: usize = 90;
const BURST: usize = 45;

/// Stands in for TokenReview: `token of GATEWAY`.
struct FakeTokens;

#[async_trait::async_trait]
impl Authenticate for FakeTokens {
    async fn authenticate(&self, token: &Redacted, claim: &ProxyId) -> Result<Identity, Refusal> {
        let gateway = token.reveal().strip_prefix("token of ").unwrap_or_default();
        let proxy =
            ProxyId { gateway: GatewayRef::new(Role::Gateway, "shop", gateway), pod: claim.pod.clone() };
        Ok(Identity { proxy, uri: format!("spiffe://cluster.local/ns/shop/sa/{gateway}") })
    }
}

struct Controller {
    task: JoinHandle<()>,
    quotas: JoinHandle<()>,
    _tls: watch::Sender<Arc<ServerTls>>,
}

impl Controller {
    /// `learns`: another one was before it.
    async fn start(
        address: SocketAddr,
        authority: &Arc<Authority>,
        resources: Resources,
        learns: bool,
    ) -> Self {
        let own = authority.serving(&["127.0.0.1".into()]).unwrap();
        let tls = Arc::new(ServerTls::new(&own.chain, &own.key, authority.certificate()).unwrap());
        let (keep, tls) = watch::channel(tls);
        let listener = loop {
            match TcpListener::bind(address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        let hub = Hub::new();
        hub.publish(Generation::new(0, 1), resources);
        let options = ServerOptions { ttl: 4_000_000_000, learns, ..ServerOptions::default() };
        let quotas = Quotas::with(hub.clone(), options, None);
        quotas.lead(true);
        let server = Server {
            loads: Loads::new(hub.clone()),
            hub,
            quotas: quotas.clone(),
            tls,
            authenticate: Arc::new(FakeTokens),
            issue: authority.clone(),
        };
        Self { task: tokio::spawn(server.serve(listener)), quotas: tokio::spawn(quotas.run()), _tls: keep }
    }

    /// Ends at once, connections too; nothing is remembered.
    async fn kill(self) {
        self.task.abort();
        self.quotas.abort();
        _ = self.task.await;
        _ = self.quotas.await;
    }
}

/// A Gateway for each port, all held to one limit, and a route on all of them.
fn resources(ports: &[u16], backend: SocketAddr) -> Resources {
    let mut text = String::new();
    let mut parents = String::new();
    for (at, port) in ports.iter().enumerate() {
        text += &format!(
            "---\nkey: Listener/shop/edge-{at}/http\nresource: {{kind: Listener, address: 127.0.0.1, port: {port}, \
             protocol: HTTP, scope: gateway, attached: [BackendTrafficPolicy/shop/limits]}}\n"
        );
        parents += &format!(
            "  - listener: {{namespace: shop, gateway: edge-{at}, section: http, hostnames: [\"*\"]}}\n"
        );
    }
    text += &format!(
        "---\nkey: Backend/shop/a:80\nresource: {{kind: Backend, protocol: http}}\n---\nkey: Endpoints/shop/a:80\n\
         resource: {{kind: Endpoints, endpoints: [{{address: \"{backend}\"}}]}}\n---\nkey: HttpRoute/shop/all\nresource:\n  \
         kind: HttpRoute\n  parents:\n{parents}  rules:\n  - action: {{forward: [{{target: {{backend: {{namespace: shop, \
         name: a, port: 80}}}}, weight: 1}}]}}\n---\nkey: BackendTrafficPolicy/shop/limits\nresource:\n  kind: \
         BackendTrafficPolicy\n  defaults:\n    rateLimit:\n      global:\n        onQuotaLost: {{keepShareFor: 2s}}\n        \
         rules: [{{name: all, shared: true, limit: {{requests: {LIMIT}, unit: Second, burst: {BURST}}}}}]\n"
    );
    config::decode_documents(&text).unwrap()
}

fn gateway(at: usize, controller: SocketAddr, files: &Path, admin: u16) -> Child {
    let token = files.join(format!("token-{at}"));
    std::fs::write(&token, format!("token of edge-{at}")).unwrap();
    Command::new(env!("CARGO_BIN_EXE_fairway-gateway"))
        .args(["--controller", &format!("https://{controller}"), "--pod", "pod"])
        .args(["--gateway", &format!("shop/edge-{at}")])
        .args(["--controller-ca".as_ref(), files.join("ca").as_os_str()])
        .args(["--token-file".as_ref(), token.as_os_str()])
        .args(["--admin", &format!("127.0.0.1:{admin}"), "--workers", "1", "--log", "error"])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// What an admin port says.
async fn ask(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n").as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

/// A request that was admitted: at some moment between these two.
#[derive(Debug, Clone, Copy)]
struct Admitted {
    sent: Instant,
    answered: Instant,
}

type Log = Arc<Mutex<Vec<Admitted>>>;

/// Sends requests at a pace, whatever comes of them.
async fn send(port: u16, log: Log) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut pace = tokio::time::interval(Duration::from_secs(1) / u32::try_from(LIMIT).unwrap());
    let mut answer = vec![0; 64 << 10];
    loop {
        pace.tick().await;
        let sent = Instant::now();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n").await.unwrap();
        let mut read = 0;
        let whole = loop {
            let more = stream.read(&mut answer[read..]).await.unwrap();
            assert!(more > 0, "the gateway closed the connection");
            read += more;
            if let Some(whole) = whole(&answer[..read]) {
                break whole;
            }
        };
        match whole {
            200 => log.lock().push(Admitted { sent, answered: Instant::now() }),
            429 => {}
            status => panic!("{status}: {}", String::from_utf8_lossy(&answer[..read])),
        }
    }
}

/// The status of an answer, once it is all there.
fn whole(bytes: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    (body.len() >= length.unwrap_or(0)).then(|| head.split(' ').nth(1)?.parse().ok())?
}

/// The exact sliding log: the most that was certainly admitted in any window of that length, and the window's beginning. What was
/// under way when it began or ended is not counted, so that a machine that stalls cannot make a limit look broken.
fn fullest(log: &[Admitted], window: Duration) -> (usize, Instant) {
    let in_window =
        |from: Instant| log.iter().filter(|one| one.sent >= from && one.answered < from + window).count();
    log.iter().map(|one| (in_window(one.sent), one.sent)).max().unwrap()
}

/// Admitted from one moment to another, for each second.
fn rate(log: &[Admitted], from: Instant, until: Instant) -> f64 {
    let count = log.iter().filter(|one| (from..until).contains(&one.answered)).count();
    #[allow(clippy::cast_precision_loss, reason = "some thousands")]
    let count = count as f64;
    count / (until - from).as_secs_f64()
}

async fn sleep(seconds: u64) -> Instant {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    Instant::now()
}

async fn ready(admins: &[u16]) {
    let began = Instant::now();
    for admin in admins {
        while !ask(*admin, "/readyz").await.is_some_and(|answer| answer.starts_with("HTTP/1.0 200")) {
            assert!(began.elapsed() < PATIENCE, "a gateway does not start");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A gateway has its quota server again, and it exchanged few messages with it.
async fn says_little(admin: u16, started: Instant) {
    let metrics = ask(admin, "/metrics").await.unwrap();
    let count = |name: &str| -> f64 {
        let line = metrics.lines().find(|line| line.starts_with(name));
        let count = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
        count.unwrap_or_else(|| panic!("{name}: {metrics}"))
    };
    let messages = |direction| {
        count(&format!("fairway_quota_messages_total{{role=\"gateway\",direction=\"{direction}\"}}"))
    };
    let (sent, received) = (messages("sent"), messages("received"));
    let seconds = started.elapsed().as_secs_f64();
    eprintln!("messages in a second: {:.2} sent, {:.2} received", sent / seconds, received / seconds);
    assert!((sent + received) / seconds <= 10.0, "{sent} sent and {received} received in {seconds} s");
    assert!(count("fairway_quota_connected{") > 0.5);
    let limits = ask(admin, "/limits").await.unwrap();
    assert!(limits.contains("\"BackendTrafficPolicy/shop/limits/all\""), "{limits}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_hold_a_limit_in_sum_also_when_the_quota_server_is_killed_and_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let files = directory.path();
    let authority = Arc::new(Authority::generate().unwrap());
    std::fs::write(files.join("ca"), authority.certificate()).unwrap();
    let mut ports = Vec::new();
    let mut admins = Vec::new();
    for _ in 0..GATEWAYS {
        ports.push(free_port().await);
        admins.push(free_port().await);
    }
    let address: SocketAddr = ([127, 0, 0, 1], free_port().await).into();
    let resources = resources(&ports, backend().await);
    let controller = Controller::start(address, &authority, resources.clone(), false).await;
    let gateways: Vec<Child> =
        admins.iter().enumerate().map(|(at, admin)| gateway(at, address, files, *admin)).collect();
    ready(&admins).await;
    let log = Log::default();
    let started = Instant::now();
    let senders: Vec<_> = ports.iter().map(|port| tokio::spawn(send(*port, log.clone()))).collect();
    let warm = sleep(3).await;
    let killed = sleep(7).await;
    controller.kill().await;
    let back = sleep(5).await;
    let controller = Controller::start(address, &authority, resources, true).await;
    // It learns for as long as a lease and its reuse, and proxies look for it for some seconds.
    let learned = sleep(12).await;
    let ended = sleep(6).await;
    for sender in &senders {
        assert!(!sender.is_finished(), "a client has failed");
        sender.abort();
    }
    let log = std::mem::take(&mut *log.lock());
    let mut log = log;
    log.sort_by_key(|one| one.answered);
    let phases = [
        ("steady", warm, killed),
        ("alone", killed, back),
        ("learning", back, learned),
        ("again", learned, ended),
    ];
    for (name, from, until) in phases {
        eprintln!("{name}: {:.1} in a second, limit {LIMIT}", rate(&log, from, until));
    }
    let (second, at) = fullest(&log, Duration::from_secs(1));
    let (ten, _) = fullest(&log, Duration::from_secs(10));
    eprintln!("the fullest second begins after {:?}", at - started);
    let gap = log.windows(2).map(|pair| pair[1].answered - pair[0].answered).max().unwrap();
    eprintln!("fullest second {second}, fullest ten seconds {ten}, longest gap {gap:?}");
    // L·w + B, and 5 % for what gateways admit before they have a share.
    assert!(second <= (LIMIT + BURST) * 105 / 100, "{second} in a second");
    assert!(ten <= (10 * LIMIT + BURST) * 105 / 100, "{ten} in ten seconds");
    // A report interval.
    assert!(gap < Duration::from_secs(1), "nobody was admitted for {gap:?}");
    let least = |name, share: f64| {
        let (_, from, until) = phases.iter().find(|(phase, ..)| *phase == name).unwrap();
        let rate = rate(&log, *from, *until);
        #[allow(clippy::cast_precision_loss, reason = "it is 90")]
        let wanted = LIMIT as f64 * share;
        assert!(rate >= wanted, "{name}: only {rate:.1} in a second");
    };
    least("steady", 0.9);
    least("alone", 0.8);
    least("again", 0.9);
    for admin in admins {
        says_little(admin, started).await;
    }
    drop(gateways);
    controller.kill().await;
}
