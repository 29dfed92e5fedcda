//! What the transport costs: a controller in this process, proxies that keep nothing but what the client keeps in another.
//! Prints figures and asserts none of them; run it with `cargo bench -p fairway-config --bench transport`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, reason = "a tool for people")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::identity::{Authenticate, Authority, GatewayRef, Identity, ProxyId, Refusal, Role};
use config::source::Answer;
use config::xds::{ClientOptions, Hub, Server, ServerTls, client};
use config::{
    Action, Backend, BackendRef, Endpoints, Generation, HttpRoute, HttpRule, Key, Kind, Listener, Parent,
    PolicySet, Protocol, Redacted, Resource, Resources, Scope, Target, Update, WeightedBackend,
};
use fairway_config as config;
use tokio::net::TcpListener;
use tokio::sync::watch;

const ROUTES: usize = 5000;

/// Stands in for TokenReview.
struct FakeTokens;

#[async_trait::async_trait]
impl Authenticate for FakeTokens {
    async fn authenticate(&self, _: &Redacted, claim: &ProxyId) -> Result<Identity, Refusal> {
        Ok(Identity { proxy: claim.clone(), uri: "spiffe://cluster.local/ns/n/sa/edge".into() })
    }
}

fn route(n: usize, created: i64) -> (Key, Resource) {
    let to = BackendRef { namespace: "n".into(), name: format!("service-{n}"), port: 80 };
    let parent = Parent::Listener {
        namespace: "n".into(),
        gateway: "edge".into(),
        section: "http".into(),
        hostnames: vec![format!("host-{n}.example.com")],
    };
    let forward = WeightedBackend {
        target: Target::Backend(to),
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
    let route = HttpRoute { created, parents: vec![parent], attached: Vec::new(), rules: vec![rule] };
    (Key::new(Kind::HttpRoute, "n", format!("route-{n}")), Resource::HttpRoute(route))
}

fn resources(routes: usize) -> Resources {
    let (protocol, scope) = (Protocol::Http, Scope::Gateway);
    let listener = Listener {
        address: None,
        port: 80,
        protocol,
        hostname: None,
        tls: None,
        backend_certificate: None,
        traffic: None,
        attached: Vec::new(),
        scope,
    };
    let mut all = Resources::new();
    all.insert(Key::new(Kind::Listener, "n", "edge/http"), Arc::new(Resource::Listener(listener)));
    for n in 0..routes {
        let (key, route) = route(n, 0);
        all.insert(key, Arc::new(route));
        let to = BackendRef { namespace: "n".into(), name: format!("service-{n}"), port: 80 };
        all.insert(Key::backend(&to), Arc::new(Resource::Backend(Backend::default())));
        all.insert(Key::endpoints(&to), Arc::new(Resource::Endpoints(Endpoints::default())));
    }
    all
}

async fn controller(files: &Path) -> (Hub, SocketAddr, watch::Sender<Arc<ServerTls>>) {
    let authority = Arc::new(Authority::generate().unwrap());
    std::fs::write(files.join("ca"), authority.certificate()).unwrap();
    std::fs::write(files.join("token"), "token").unwrap();
    let own = authority.serving(&["127.0.0.1".into()]).unwrap();
    let tls = Arc::new(ServerTls::new(&own.chain, &own.key, authority.certificate()).unwrap());
    let (keep, tls) = watch::channel(tls);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let hub = Hub::new();
    let quotas = config::quota::Quotas::new(hub.clone(), true);
    let loads = config::load::Loads::new(hub.clone());
    let server =
        Server { hub: hub.clone(), quotas, loads, tls, authenticate: Arc::new(FakeTokens), issue: authority };
    tokio::spawn(server.serve(listener));
    (hub, address, keep)
}

/// The other process: proxies without an engine.
fn proxies(address: &str, files: &Path, count: usize) {
    // Few threads decode: they share the processors with the one that has to answer pings for all.
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(1).max_blocking_threads(2).enable_all();
    runtime.build().unwrap().block_on(run_proxies(address, files, count));
}

async fn run_proxies(address: &str, files: &Path, count: usize) {
    let mut running = Vec::new();
    for n in 0..count {
        let gateway = GatewayRef::new(Role::Gateway, "n", "edge");
        let controlled = client(ClientOptions {
            controller: format!("https://{address}"),
            controller_ca: files.join("ca"),
            token_file: files.join("token"),
            proxy: ProxyId { gateway, pod: format!("pod-{n}-of-{count}") },
            snapshot: None,
        });
        let config::xds::Controlled { mut source, mut state, .. } = controlled.unwrap();
        running.push(tokio::spawn(async move {
            while state.changed().await.is_ok() {
                if let Some(problem) = &state.borrow_and_update().problem {
                    println!("  a proxy has lost its stream: {problem}");
                }
            }
        }));
        running.push(tokio::spawn(async move {
            while let Some(Update { version, .. }) = source.updates.recv().await {
                _ = source.answers.send(Answer { version, rejections: Vec::new() }).await;
            }
        }));
    }
    futures::future::join_all(running).await;
}

fn start(address: SocketAddr, files: &Path, count: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["proxies", &address.to_string(), files.to_str().unwrap(), &count.to_string()])
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

async fn until(hub: &Hub, count: usize, generation: Generation) {
    let mut changes = hub.changes();
    loop {
        changes.borrow_and_update();
        let there =
            hub.proxies().iter().filter(|p| p.is_connected && p.generation >= Some(generation)).count();
        if there >= count {
            return;
        }
        changes.changed().await.unwrap();
    }
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let ticks: u64 = rest.split_whitespace().skip(11).take(2).map(|n| n.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

fn summary(mut times: Vec<Duration>) -> String {
    times.sort();
    format!("p50 {:?}, p99 {:?}", times[times.len() / 2], times[times.len() * 99 / 100])
}

/// Publishes changes of one route, one after the other; times until all proxies use each.
async fn changes(hub: &Hub, count: usize, revision: &mut u64, rounds: usize) -> (Vec<Duration>, Duration) {
    let (mut times, before) = (Vec::new(), cpu());
    for round in 0..rounds {
        *revision += 1;
        let generation = Generation::new(0, *revision);
        let (key, route) = route(round % 100, i64::try_from(*revision).unwrap());
        let upserts = Resources::from([(key, Arc::new(route))]);
        let began = Instant::now();
        hub.publish_change(generation, &Update { upserts, ..Update::default() });
        until(hub, count, generation).await;
        times.push(began.elapsed());
    }
    (times, cpu() - before)
}

#[tokio::main(worker_threads = 2)]
async fn measure() {
    let directory = tempfile::tempdir().unwrap();
    // A proxy holds all it is told: 100 of the larger kind are 1.5 GB.
    for (routes, more) in [(ROUTES / 10, 100), (ROUTES, 20)] {
        let (hub, address, _tls) = controller(directory.path()).await;
        let all = resources(routes);
        let bytes: usize = all.values().map(|r| serde_json::to_vec(&**r).unwrap().len()).sum();
        println!("{routes} routes, {} resources, {} KiB as JSON", all.len(), bytes >> 10);
        let mut revision = 1;
        let began = Instant::now();
        hub.publish(Generation::new(0, revision), all);
        println!("  first publish: {:?}; controller alone: {} MiB", began.elapsed(), resident_kib() >> 10);
        let began = Instant::now();
        let mut one = start(address, directory.path(), 1);
        until(&hub, 1, Generation::new(0, revision)).await;
        println!("  first load, from the start of the proxy's process: {:?}", began.elapsed());
        let (times, used) = changes(&hub, 1, &mut revision, 500).await;
        println!("  one route changed, one proxy: {}; CPU {:?} each", summary(times), used / 500);
        let before = resident_kib();
        let began = Instant::now();
        let mut many = start(address, directory.path(), more);
        until(&hub, more + 1, Generation::new(0, revision)).await;
        println!("  {more} more proxies loaded: {:?}", began.elapsed());
        let (times, used) = changes(&hub, more + 1, &mut revision, 200).await;
        println!("  one route changed, all proxies: {}; CPU {:?} each", summary(times), used / 200);
        println!(
            "  controller: {} MiB, {} KiB per proxy",
            resident_kib() >> 10,
            resident_kib().saturating_sub(before) / u64::try_from(more).unwrap()
        );
        for child in [&mut one, &mut many] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("proxies") => proxies(&args[2], Path::new(&args[3]), args[4].parse().unwrap()),
        // `cargo test --benches` only wants to know that it builds.
        _ if args.iter().any(|arg| arg == "--bench") => measure(),
        _ => {}
    }
}
