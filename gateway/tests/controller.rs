//! The gateway's binary with a controller over TLS, and without it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::identity::{Authenticate, Authority, GatewayRef, Identity, ProxyId, Refusal, Role};
use config::load::Loads;
use config::quota::Quotas;
use config::xds::{Hub, Server, ServerTls};
use config::{
    Action, Backend, BackendRef, Endpoint, Endpoints, Generation, HttpRoute, HttpRule, Key, Kind, Listener,
    Parent, PolicySet, Protocol, Redacted, Resource, Resources, Scope, Target, WeightedBackend,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

mod support;

use self::support::{backend, free_port};

const PATIENCE: Duration = Duration::from_secs(60);

/// Stands in for TokenReview: every token is that of the one Gateway.
struct FakeTokens;

#[async_trait::async_trait]
impl Authenticate for FakeTokens {
    async fn authenticate(&self, token: &Redacted, claim: &ProxyId) -> Result<Identity, Refusal> {
        if token.reveal() != "a token" {
            return Err(Refusal::Unauthenticated("the token is not valid".into()));
        }
        let proxy =
            ProxyId { gateway: GatewayRef::new(Role::Gateway, "shop", "edge"), pod: claim.pod.clone() };
        Ok(Identity { proxy, uri: "spiffe://cluster.local/ns/shop/sa/edge".into() })
    }
}

struct Controller {
    hub: Hub,
    address: SocketAddr,
    task: JoinHandle<()>,
    // Nobody exchanges it here.
    _tls: watch::Sender<Arc<ServerTls>>,
}

async fn controller(files: &Path) -> Controller {
    let authority = Arc::new(Authority::generate().unwrap());
    std::fs::write(files.join("ca"), authority.certificate()).unwrap();
    std::fs::write(files.join("token"), "a token").unwrap();
    let own = authority.serving(&["127.0.0.1".into()]).unwrap();
    let tls = Arc::new(ServerTls::new(&own.chain, &own.key, authority.certificate()).unwrap());
    let (keep, tls) = watch::channel(tls);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let hub = Hub::new();
    let quotas = Quotas::new(hub.clone(), true);
    let loads = Loads::new(hub.clone());
    let server =
        Server { hub: hub.clone(), quotas, loads, tls, authenticate: Arc::new(FakeTokens), issue: authority };
    Controller { hub, address, task: tokio::spawn(server.serve(listener)), _tls: keep }
}

/// A Gateway with so many routes; the last is for `last.example.com`.
fn resources(port: u16, endpoint: SocketAddr, routes: usize) -> Resources {
    let mut resources = Resources::new();
    let address = Some([127, 0, 0, 1].into());
    let (protocol, scope) = (Protocol::Http, Scope::Gateway);
    let listener = Listener {
        address,
        port,
        protocol,
        hostname: None,
        tls: None,
        backend_certificate: None,
        traffic: None,
        attached: Vec::new(),
        scope,
    };
    resources.insert(Key::new(Kind::Listener, "shop", "edge/http"), Arc::new(Resource::Listener(listener)));
    for n in 1..=routes {
        let name = if n == routes { "last".to_owned() } else { format!("route-{n}") };
        let to = BackendRef { namespace: "shop".into(), name: name.clone(), port: 80 };
        let parent = Parent::Listener {
            namespace: "shop".into(),
            gateway: "edge".into(),
            section: "http".into(),
            hostnames: vec![format!("{name}.example.com")],
        };
        let forward = WeightedBackend {
            target: Target::Backend(to.clone()),
            weight: 1,
            policies: PolicySet::default(),
            attached: Vec::new(),
        };
        let action = Action::Forward(vec![forward]);
        let rule = HttpRule {
            name: None,
            matches: Vec::new(),
            policies: PolicySet::default(),
            attached: Vec::new(),
            action,
        };
        let route = HttpRoute { created: 0, parents: vec![parent], attached: Vec::new(), rules: vec![rule] };
        let endpoints = vec![Endpoint { address: endpoint, zone: None }];
        resources.insert(Key::new(Kind::HttpRoute, "shop", &*name), Arc::new(Resource::HttpRoute(route)));
        resources.insert(Key::backend(&to), Arc::new(Resource::Backend(Backend::default())));
        resources.insert(Key::endpoints(&to), Arc::new(Resource::Endpoints(Endpoints { endpoints })));
    }
    resources
}

fn start(controller: SocketAddr, files: &Path, admin: u16) -> Child {
    Command::new(env!("CARGO_BIN_EXE_fairway-gateway"))
        .args(["--controller", &format!("https://{controller}"), "--gateway", "shop/edge", "--pod", "edge-1"])
        .args(["--controller-ca".as_ref(), files.join("ca").as_os_str()])
        .args(["--token-file".as_ref(), files.join("token").as_os_str()])
        .args(["--snapshot".as_ref(), files.join("snapshot").as_os_str()])
        .args(["--admin", &format!("127.0.0.1:{admin}"), "--workers", "1", "--log", "warn"])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// The answer to a GET, or nothing while nobody listens.
async fn get(port: u16, host: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    (!answer.is_empty()).then_some(answer)
}

async fn until(port: u16, host: &str, path: &str, is_so: impl Fn(&str) -> bool) -> String {
    let began = Instant::now();
    let mut last = None;
    while began.elapsed() < PATIENCE {
        last = get(port, host, path).await;
        if let Some(answer) = last.take_if(|answer| is_so(answer)) {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{host}{path} on port {port} was last {last:?}");
}

async fn until_served(port: u16) {
    until(port, "last.example.com", "/", |answer| answer.starts_with("HTTP/1.1 200")).await;
}

fn resident(process: &Child) -> String {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id().unwrap())).unwrap();
    status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default().to_owned()
}

fn snapshot_is_written(files: &Path) -> bool {
    files.join("snapshot").exists()
}

#[tokio::test]
async fn a_gateway_starts_from_its_snapshot_while_the_controller_is_down() {
    let directory = tempfile::tempdir().unwrap();
    let files = directory.path();
    let controller = controller(files).await;
    let (port, admin) = (free_port().await, free_port().await);
    let routes = 5000;
    controller.hub.publish(Generation::new(0, 42), resources(port, backend().await, routes));
    let mut gateway = start(controller.address, files, admin);
    until_served(port).await;
    eprintln!("{routes} routes from the controller, {}", resident(&gateway));
    let ready = until(admin, "localhost", "/readyz", |answer| answer.starts_with("HTTP/1.1 200")).await;
    assert!(ready.contains("gateway: ready, configuration 42\ngateway: controller: connected\n"), "{ready}");
    let metrics = get(admin, "localhost", "/metrics").await.unwrap();
    assert!(metrics.contains("fairway_controller_connected{role=\"gateway\"} 1\n"), "{metrics}");
    let waiting = Instant::now();
    while !snapshot_is_written(files) {
        assert!(waiting.elapsed() < PATIENCE, "no snapshot");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // As after a power cut, and nobody to ask.
    gateway.kill().await.unwrap();
    controller.task.abort();
    _ = controller.task.await;

    let began = Instant::now();
    let mut gateway = start(controller.address, files, admin);
    until_served(port).await;
    let took = began.elapsed();
    eprintln!("{routes} routes served {took:?} after a start without the controller, {}", resident(&gateway));
    let ready = until(admin, "localhost", "/readyz", |answer| answer.contains("not connected: ")).await;
    assert!(ready.starts_with("HTTP/1.1 200") && ready.contains("comes from the snapshot"), "{ready}");
    gateway.kill().await.unwrap();

    // A byte flips on disk: nothing of it is served.
    let snapshot = files.join("snapshot");
    let mut bytes = std::fs::read(&snapshot).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&snapshot, bytes).unwrap();
    let mut gateway = start(controller.address, files, admin);
    let ready = until(admin, "localhost", "/readyz", |answer| answer.contains("damaged")).await;
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
    let metrics = get(admin, "localhost", "/metrics").await.unwrap();
    assert!(metrics.contains("fairway_snapshot_failed{role=\"gateway\"} 1\n"), "{metrics}");
    assert!(get(port, "last.example.com", "/").await.is_none());
    gateway.kill().await.unwrap();
}

#[tokio::test]
async fn what_a_gateway_rejects_is_in_the_controllers_hands_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let files = directory.path();
    let controller = controller(files).await;
    let admin = free_port().await;
    // A port somebody else has.
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    controller.hub.publish(Generation::new(0, 1), resources(port, backend().await, 1));
    let mut gateway = start(controller.address, files, admin);
    let mut changes = controller.hub.changes();
    let known = tokio::time::timeout(PATIENCE, async {
        loop {
            changes.borrow_and_update();
            if let Some(proxy) = controller.hub.proxies().into_iter().find(|proxy| proxy.generation.is_some())
            {
                return proxy;
            }
            changes.changed().await.unwrap();
        }
    });
    let known = known.await.unwrap();
    assert_eq!(known.proxy.pod, "edge-1");
    assert_eq!(known.rejections[0].key, Key::new(Kind::Listener, "shop", "edge/http"));
    assert!(known.rejections[0].message.contains("another process listens there"));
    let shown = until(admin, "localhost", "/config", |answer| answer.contains("# rejected: ")).await;
    assert!(shown.contains("# rejected: Listener/shop/edge/http: port "), "{shown}");
    gateway.kill().await.unwrap();
}
