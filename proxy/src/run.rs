//! A running proxy: one owner task that takes updates, compiles, opens, publishes, closes and answers.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use config::load;
use config::quota::{Driver, QuotaState, Way};
use config::source::{Answer, Source};
use config::{Rejection, Resources, Update};
use parking_lot::Mutex;
use pingora_core::server::configuration::ServerConf;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::call::Net;
use crate::compile::Compiler;
use crate::compile::Kept;
use crate::egress::frame;
use crate::engine::Engine;
use crate::ingress::admission::Admission;
use crate::ingress::serve::Server;
use crate::keys::KeyStore;
use crate::limits::{LimitStore, Shown};
use crate::listeners::{Listeners, Seats};
use crate::overload::{Load, Overload};
use crate::snapshot::{Bind, Reader, Snapshot, Writer};
use crate::telemetry::{Telemetry, max_descriptors};
use crate::upstream::trust_file;
use crate::workers::Workers;

/// Attempts per request that Pingora allows at most; how many there are is decided by the engine.
const ATTEMPTS: usize = 64;

/// How a proxy runs; what it serves comes from its [`Source`].
#[derive(Debug, Clone)]
pub struct Options {
    /// `gateway` or `waypoint`: a label for logs and metrics, nothing else.
    pub role: &'static str,
    /// How long requests in flight may take to end when a listener closes. Default 30 s.
    pub drain: Duration,
    /// Idle upstream connections kept per worker. Default 1024.
    pub idle_upstreams: usize,
    /// The clients are proxies of the same mesh: `x-forwarded-proto` and `x-forwarded-host` of a request hold. Default
    /// false: anybody can send them, so they are overwritten.
    pub trusts_clients: bool,
    /// Most client connections at once. Default 50,000. Never more than half of the descriptors the process may have, since
    /// most of them need another one for a backend.
    pub max_connections: usize,
    /// Bytes of memory the process may have. Default: what its control group may.
    pub max_memory: Option<u64>,
    /// To the quota server. Default: there is none, and this proxy holds global limits by itself.
    pub quota: Option<Arc<dyn Way>>,
    /// To who asks what backends are doing. Default: nobody does.
    pub load: Option<Arc<dyn load::Way>>,
}

impl Options {
    /// Defaults for a role.
    #[must_use]
    pub fn new(role: &'static str) -> Self {
        let drain = Duration::from_secs(30);
        Self {
            role,
            drain,
            idle_upstreams: 1024,
            trusts_clients: false,
            max_connections: 50_000,
            max_memory: None,
            quota: None,
            load: None,
        }
    }
}

/// A running proxy: listeners, engine, and one owner task that applies updates. Dropping it ends it at once; see
/// [`Proxy::drain`].
pub struct Proxy {
    reader: Reader,
    addresses: Arc<Mutex<Vec<(Bind, SocketAddr)>>>,
    compiler: Arc<Mutex<Compiler>>,
    stop: oneshot::Sender<oneshot::Sender<()>>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("addresses", &self.addresses()).finish_non_exhaustive()
    }
}

impl Proxy {
    /// Takes updates on the current tokio runtime, and serves requests on `workers`. Each update of `source` is compiled,
    /// published and its listeners are open before its answer is sent; a listener that cannot be opened is a rejection in
    /// that answer. When the source ends, what was served last is served on.
    ///
    /// # Errors
    /// When loopback cannot be used, which Pingora needs at the start.
    #[allow(clippy::needless_pass_by_value, reason = "options are the proxy's from here on")]
    pub fn start(
        options: Options,
        workers: Workers,
        telemetry: Arc<Telemetry>,
        source: Source,
    ) -> io::Result<Self> {
        let (writer, reader) = crate::snapshot::pair();
        let addresses = Arc::new(Mutex::new(Vec::new()));
        // On this runtime, not on the workers': it is nobody's request.
        let keys = KeyStore::start(Handle::current(), Net::new(4));
        telemetry.follow_keys(keys.clone());
        let limits = Arc::new(LimitStore::default());
        let quota = lease(&options, &limits, &telemetry);
        let mut telling = JoinSet::new();
        if let Some(way) = options.load.clone() {
            telling.spawn(load::Driver { way, counters: telemetry.clone() }.run());
        }
        let kept = Kept { keys, limits };
        let compiler = Arc::new(Mutex::new(Compiler::with(telemetry.clone(), kept)));
        let (stop, stopped) = oneshot::channel();
        // Each worker has its own: what it shares, it shares with nobody.
        let overload = Arc::new(Overload::watch(workers.runtimes(), options.max_memory));
        telemetry.follow_overload(overload.clone());
        let servers = workers.runtimes().zip(&overload.loads).map(|(runtime, load)| {
            let server = server(&options, load.clone(), telemetry.clone(), reader.clone(), runtime)?;
            Ok((runtime.clone(), Arc::new(server)))
        });
        let servers = servers.collect::<io::Result<Vec<_>>>()?.into_iter();
        let seats = Seats::new(servers, admission(&options), overload.pressure.clone());
        let owner = Owner {
            compiler: compiler.clone(),
            current: reader.load(),
            reader: reader.clone(),
            writer,
            listeners: Listeners::new(seats, telemetry, reader.clone(), options.drain),
            addresses: addresses.clone(),
            quota,
            _telling: telling,
            _workers: workers,
            _overload: overload,
        };
        tokio::spawn(owner.run(source, stopped));
        Ok(Self { reader, addresses, compiler, stop })
    }

    /// Reads what is served.
    #[must_use]
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// The open ports with the address each really has; a port 0 has one chosen by the system.
    #[must_use]
    pub fn addresses(&self) -> Vec<(Bind, SocketAddr)> {
        self.addresses.lock().clone()
    }

    /// Reads the resources as last told; copies them when it is called.
    pub fn resources(&self) -> impl Fn() -> Resources + Send + Sync + 'static {
        let compiler = self.compiler.clone();
        move || compiler.lock().store().resources().clone()
    }

    /// Stops accepting, lets requests in flight end within the drain time, and ends.
    pub async fn drain(self) {
        let (done, ended) = oneshot::channel();
        if self.stop.send(done).is_ok() {
            let _ = ended.await;
        }
    }
}

/// Starts what renews shares of limits; it ends with the sender, and says when it has given back what it had.
fn lease(
    options: &Options,
    limits: &Arc<LimitStore>,
    telemetry: &Telemetry,
) -> oneshot::Sender<oneshot::Sender<()>> {
    let (state, shown) = watch::channel(QuotaState::default());
    telemetry.follow_limits(Shown { store: limits.clone(), state: shown });
    let store = limits.clone();
    let driver = Driver {
        way: options.quota.clone(),
        tables: Box::new(move || store.tables()),
        changed: limits.changed(),
        clock: policies::monotonic,
        state,
    };
    let (stop, stopped) = oneshot::channel();
    tokio::spawn(driver.run(stopped));
    stop
}

/// Connections of one address where nothing is said.
const PER_ADDRESS: usize = 1000;

fn admission(options: &Options) -> Arc<Admission> {
    let descriptors = max_descriptors();
    let most = descriptors.map_or(options.max_connections, |all| options.max_connections.min(all / 2).max(1));
    if most < options.max_connections {
        let (wanted, descriptors) = (options.max_connections, descriptors.unwrap_or_default());
        tracing::info!(most, wanted, descriptors, "connections are limited to half of the descriptors");
    }
    // Proxies speak for many clients.
    Admission::new(most, (!options.trusts_clients).then_some(PER_ADDRESS))
}

fn server(
    options: &Options,
    load: Arc<Load>,
    telemetry: Arc<Telemetry>,
    reader: Reader,
    runtime: &Handle,
) -> io::Result<Server> {
    let &Options { idle_upstreams, trusts_clients, .. } = options;
    let conf = ServerConf {
        threads: 1,
        upstream_keepalive_pool_size: idle_upstreams.max(1),
        max_retries: ATTEMPTS,
        ca_file: Some(trust_file().to_owned()),
        ..ServerConf::default()
    };
    let engine = Engine {
        reader: reader.clone(),
        telemetry: telemetry.clone(),
        net: Net::new(idle_upstreams.min(128)),
        trusts_clients,
        load: load.clone(),
    };
    Ok(Server::new(frame(Arc::new(conf), engine, runtime)?, reader, telemetry, load))
}

/// The one task that changes what is served.
struct Owner {
    compiler: Arc<Mutex<Compiler>>,
    current: Arc<Snapshot>,
    reader: Reader,
    writer: Writer,
    listeners: Listeners,
    addresses: Arc<Mutex<Vec<(Bind, SocketAddr)>>>,
    quota: oneshot::Sender<oneshot::Sender<()>>,
    /// Tells loads until the end.
    _telling: JoinSet<Infallible>,
    _workers: Workers,
    _overload: Arc<Overload>,
}

impl Owner {
    async fn run(mut self, mut source: Source, mut stopped: oneshot::Receiver<oneshot::Sender<()>>) {
        let mut is_told = true;
        let done = loop {
            tokio::select! {
                biased;
                stop = &mut stopped => break stop.ok(),
                update = source.updates.recv(), if is_told => match update {
                    Some(update) => {
                        let version = update.version;
                        let rejections = self.apply(update).await;
                        // Nobody may want to hear it.
                        let _ = source.answers.send(Answer { version, rejections }).await;
                    }
                    None => is_told = false,
                },
            }
        };
        match done {
            Some(done) => {
                self.listeners.close(&self.current).await;
                let (gave_back, given_back) = oneshot::channel();
                if self.quota.send(gave_back).is_ok() {
                    let _ = given_back.await;
                }
                let _ = done.send(());
            }
            None => self.listeners.cut(),
        }
    }

    async fn apply(&mut self, update: Update) -> Vec<Rejection> {
        let compiler = self.compiler.clone();
        // Compiling may take milliseconds; requests go on on the workers meanwhile.
        let compiled = tokio::task::spawn_blocking(move || compiler.lock().apply(update)).await;
        let Ok((snapshot, mut rejections)) = compiled else {
            tracing::error!("a bug in the compiler: the last configuration is served on");
            return Vec::new();
        };
        rejections.extend(self.listeners.bind(&snapshot));
        self.writer.publish(snapshot);
        let before = std::mem::replace(&mut self.current, self.reader.load());
        self.listeners.settle(&before, &self.current);
        *self.addresses.lock() = self.listeners.addresses();
        rejections
    }
}
