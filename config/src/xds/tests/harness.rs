use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::identity::{Authenticate, Authority, GatewayRef, Identity, ProxyId, Refusal, Role};
use crate::load::Loads;
use crate::quota::Quotas;
use crate::source::Answer;
use crate::xds::{
    ClientOptions, ClientState, ControllerWay, Hub, ProxyState, Server, ServerTls, SnapshotFile, client,
};
use crate::{
    Action, Backend, BackendRef, Certificate, Endpoints, Generation, HttpRoute, HttpRule, Key, Listener,
    ListenerTls, Parent, PolicySet, Protocol, Redacted, Rejection, Resource, Resources, Scope, Target,
    Update, WeightedBackend,
};

/// Nothing here takes so long; a machine may.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: did not happen for {PATIENCE:?}"),
    }
}

pub(super) fn proxy(gateway: &str, pod: &str) -> ProxyId {
    ProxyId { gateway: GatewayRef::new(Role::Gateway, "n", gateway), pod: pod.into() }
}

pub(super) fn generation(revision: u64) -> Generation {
    Generation::new(0, revision)
}

/// Stands in for TokenReview: `token of GATEWAY` is the ServiceAccount of that Gateway.
pub(super) struct FakeTokens;

#[async_trait]
impl Authenticate for FakeTokens {
    async fn authenticate(&self, token: &Redacted, claim: &ProxyId) -> Result<Identity, Refusal> {
        let gateway = token
            .reveal()
            .strip_prefix("token of ")
            .ok_or_else(|| Refusal::Unauthenticated("the token is not valid".into()))?;
        let proxy = proxy(gateway, &claim.pod);
        Ok(Identity { proxy, uri: format!("spiffe://cluster.local/ns/n/sa/{gateway}") })
    }
}

/// A controller that can be killed and started again at its address.
pub(super) struct Controller {
    pub(super) hub: Hub,
    /// It does not lead.
    pub(super) quotas: Quotas,
    pub(super) loads: Loads,
    pub(super) address: SocketAddr,
    pub(super) authority: Arc<Authority>,
    tls: watch::Sender<Arc<ServerTls>>,
    task: JoinHandle<()>,
}

pub(super) fn tls(serving: &Authority, clients: &str) -> Arc<ServerTls> {
    let own = serving.serving(&["127.0.0.1".into()]).unwrap();
    Arc::new(ServerTls::new(&own.chain, &own.key, clients).unwrap())
}

impl Controller {
    pub(super) async fn start() -> Self {
        Self::with(Authority::generate().unwrap()).await
    }

    pub(super) async fn with(authority: Authority) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), Arc::new(authority)).await
    }

    async fn at(address: SocketAddr, authority: Arc<Authority>) -> Self {
        let hub = Hub::new();
        let listener = loop {
            // Its predecessor's connections may still be closing.
            match TcpListener::bind(address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        let address = listener.local_addr().unwrap();
        let (tls, current) = watch::channel(tls(&authority, authority.certificate()));
        let quotas = Quotas::new(hub.clone(), false);
        let loads = Loads::new(hub.clone());
        let server = Server {
            hub: hub.clone(),
            quotas: quotas.clone(),
            loads: loads.clone(),
            tls: current,
            authenticate: Arc::new(FakeTokens),
            issue: authority.clone(),
        };
        Self { hub, quotas, loads, address, authority, tls, task: tokio::spawn(server.serve(listener)) }
    }

    /// Ends at once, connections too.
    pub(super) async fn kill(self) -> (SocketAddr, Arc<Authority>) {
        self.task.abort();
        _ = self.task.await;
        (self.address, self.authority)
    }

    /// Another process at the same address; it remembers nothing.
    pub(super) async fn restart((address, authority): (SocketAddr, Arc<Authority>)) -> Self {
        within("restart", Self::at(address, authority)).await
    }

    pub(super) fn exchange_tls(&self, tls: Arc<ServerTls>) {
        self.tls.send_replace(tls);
    }

    /// Waits until what is known of a proxy is so.
    pub(super) async fn knows(&self, proxy: &ProxyId, is_so: impl Fn(&ProxyState) -> bool) -> ProxyState {
        let mut changes = self.hub.changes();
        let known = async {
            loop {
                changes.borrow_and_update();
                if let Some(state) =
                    self.hub.proxies().into_iter().find(|state| state.proxy == *proxy && is_so(state))
                {
                    return state;
                }
                changes.changed().await.unwrap();
            }
        };
        within("what is awaited of a proxy", known).await
    }

    pub(super) async fn has(&self, proxy: &ProxyId, revision: u64) -> ProxyState {
        self.knows(proxy, |state| state.generation >= Some(generation(revision))).await
    }
}

/// Stands in for the engine: keeps what it is told and rejects what it is asked to.
pub(super) struct FakeProxy {
    pub(super) id: ProxyId,
    /// What it would serve.
    pub(super) resources: Arc<Mutex<Resources>>,
    /// Every update, as it came.
    pub(super) updates: mpsc::UnboundedReceiver<Update>,
    pub(super) answers: mpsc::Receiver<Answer>,
    pub(super) state: watch::Receiver<ClientState>,
    /// What it rejects from its next answer on.
    pub(super) rejects: Arc<Mutex<Vec<Rejection>>>,
    /// It answers nothing while this is true.
    pub(super) hangs: watch::Sender<bool>,
    pub(super) way: Arc<ControllerWay>,
    directory: Arc<tempfile::TempDir>,
    task: JoinHandle<()>,
}

pub(super) struct Files(pub(super) Arc<tempfile::TempDir>);

impl Files {
    pub(super) fn new() -> Self {
        Self(Arc::new(tempfile::tempdir().unwrap()))
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }
}

impl FakeProxy {
    pub(super) fn start(controller: &Controller, gateway: &str, pod: &str) -> Self {
        let files = Files::new();
        files.write("ca", controller.authority.certificate());
        files.write("token", &format!("token of {gateway}\n"));
        Self::with(controller.address, &files, proxy(gateway, pod), false)
    }

    pub(super) fn with(controller: SocketAddr, files: &Files, id: ProxyId, keeps: bool) -> Self {
        Self::run(options(controller, files, id, keeps), files)
    }

    pub(super) fn run(options: ClientOptions, files: &Files) -> Self {
        let id = options.proxy.clone();
        let controlled = client(options).unwrap();
        let (resources, rejects) = (Arc::new(Mutex::new(Resources::new())), Arc::new(Mutex::new(Vec::new())));
        let (told, updates) = mpsc::unbounded_channel();
        let (kept, rejected) = (resources.clone(), rejects.clone());
        let (hangs, mut hanging) = watch::channel(false);
        let mut source = controlled.source;
        let task = tokio::spawn(async move {
            while let Some(update) = source.updates.recv().await {
                {
                    let mut kept = kept.lock();
                    update.removes.iter().for_each(|key| drop(kept.remove(key)));
                    kept.extend(update.upserts.clone());
                }
                let rejections = rejected.lock().clone();
                let answer = Answer { version: update.version, rejections };
                _ = told.send(update);
                _ = hanging.wait_for(|hangs| !hangs).await;
                if source.answers.send(answer).await.is_err() {
                    return;
                }
            }
        });
        let (answers, state, way) = (controlled.answers, controlled.state, controlled.way);
        let directory = files.0.clone();
        Self { id, resources, updates, answers, state, rejects, hangs, way, directory, task }
    }

    pub(super) fn files(&self) -> Files {
        Files(self.directory.clone())
    }

    pub(super) async fn update(&mut self) -> Update {
        within("an update", self.updates.recv()).await.unwrap()
    }

    pub(super) async fn is(&mut self, what: &str, is_so: impl Fn(&ClientState) -> bool) -> ClientState {
        within(what, self.state.wait_for(|state| is_so(state))).await.unwrap().clone()
    }

    pub(super) fn keys(&self) -> Vec<String> {
        self.resources.lock().keys().map(ToString::to_string).collect()
    }

    pub(super) async fn stop(self) {
        self.task.abort();
        _ = self.task.await;
    }
}

pub(super) fn options(controller: SocketAddr, files: &Files, id: ProxyId, keeps: bool) -> ClientOptions {
    ClientOptions {
        controller: format!("https://{controller}"),
        controller_ca: files.path("ca"),
        token_file: files.path("token"),
        proxy: id,
        snapshot: keeps.then(|| SnapshotFile { path: files.path("snapshot"), with_keys: true }),
    }
}

fn backend(name: &str) -> BackendRef {
    BackendRef { namespace: "n".into(), name: name.into(), port: 80 }
}

pub(super) fn route(gateway: &str, to: &str) -> Resource {
    let (namespace, section) = ("n".into(), "l".into());
    let hostnames = vec![format!("{to}.example.com")];
    let parent = Parent::Listener { namespace, gateway: gateway.into(), section, hostnames };
    let forward = WeightedBackend {
        target: Target::Backend(backend(to)),
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
    Resource::HttpRoute(HttpRoute {
        created: 0,
        parents: vec![parent],
        attached: Vec::new(),
        rules: vec![rule],
    })
}

pub(super) fn key(text: &str) -> Key {
    text.parse().unwrap()
}

/// A Gateway with a listener, its certificate, and a route to each of the backends.
pub(super) fn gateway(name: &str, backends: &[&str]) -> Resources {
    let tls = Some(ListenerTls { certificates: vec![format!("n/{name}")], client_validation: None });
    let listener = Listener {
        address: None,
        port: 443,
        protocol: Protocol::Https,
        hostname: None,
        tls,
        backend_certificate: None,
        traffic: None,
        attached: Vec::new(),
        scope: Scope::Gateway,
    };
    let certificate = Certificate { chain: "chain".into(), key: Redacted::new(format!("key of {name}")) };
    let mut all = vec![
        (format!("Listener/n/{name}/l"), Resource::Listener(listener)),
        (format!("Certificate/n/{name}"), Resource::Certificate(certificate)),
    ];
    for to in backends {
        all.push((format!("HttpRoute/n/{name}-{to}"), route(name, to)));
        all.push((format!("Backend/n/{to}:80"), Resource::Backend(Backend::default())));
        all.push((format!("Endpoints/n/{to}:80"), Resource::Endpoints(Endpoints::default())));
    }
    all.into_iter().map(|(name, resource)| (key(&name), Arc::new(resource))).collect()
}
