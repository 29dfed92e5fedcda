//! Starts every part of the controller, and ends them in order.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use config::load::Loads;
use config::quota::Quotas;
use config::redis::{BadRedis, Redis, RedisSettings};
use config::xds::{Hub, Server};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::runtime::events::{Recorder, Reporter};
use kube::{Api, Client};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::admin::{self, Admin};
use super::capture::{Phases, Steerer};
use super::control::{Control, View};
use super::grants::Granter;
use super::identity::{Authorities, Rotation, Running, Tokens};
use super::leader::{Campaign, Leads};
use super::mesh;
use super::metrics::Metrics;
use super::provision::{Environment, Provisioner, Refusals};
use super::references::References;
use super::rollouts::Runner;
use super::state::State;
use super::status::Writer;
use super::watch::{KINDS, Versions, Watching, crds};
use super::write;
use crate::{CONTROLLER_NAME, Options};

/// How often the API server is asked how far it is.
const PROGRESS: Duration = Duration::from_secs(5);
/// How long proxies have to find another replica before this one ends.
const FAREWELL: Duration = Duration::from_millis(500);

/// How a controller runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Namespace of the controller.
    pub namespace: String,
    /// Its ServiceAccount, which gets the right to read referenced Secrets.
    pub account: String,
    /// Name of this replica: its pod's.
    pub replica: String,
    /// Service by which proxies reach the controller; certificates are for it.
    pub service: String,
    /// Where proxies reach the controller, if not at its Service, as `https://HOST:PORT`.
    pub advertise: Option<String>,
    /// Where to serve proxies.
    pub listen: SocketAddr,
    /// Where to serve `/livez`, `/readyz`, `/metrics`.
    pub admin: SocketAddr,
    /// Image of gateways.
    pub image: String,
    /// Image of waypoints.
    pub waypoint_image: String,
    /// In the names of proxies' certificates.
    pub trust_domain: String,
    /// Of configurations; see `config::Generation`.
    pub epoch: u64,
    /// How often the certificate authority is exchanged; `None`: only when it ends.
    pub authority_period: Option<Duration>,
    /// Where the next leader finds what is leased of limits; `None`: it learns it.
    pub redis: Option<RedisSettings>,
}

/// Why a controller cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No way to the API server is configured.
    #[error("there is no way to the API server: run in a pod, or set KUBECONFIG")]
    Config(#[from] kube::config::InferConfigError),
    /// The API server.
    #[error("the API server cannot be used: {0}")]
    Api(String),
    /// A port.
    #[error("address {0} cannot be opened: is another process using it?")]
    Listen(SocketAddr, #[source] io::Error),
    /// The certificate authority.
    #[error("there is no certificate authority")]
    Authority(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Redis.
    #[error("what is leased cannot be kept")]
    Redis(#[from] BadRedis),
    /// A part of the controller ended, which none should.
    #[error("a part of the controller has failed: see its log")]
    Failed,
}

/// What parts have in common.
struct Shared {
    settings: Settings,
    client: Client,
    state: Arc<State>,
    metrics: Arc<Metrics>,
    hub: Hub,
    quotas: Quotas,
    loads: Loads,
    versions: Arc<Versions>,
    views: watch::Sender<Option<Arc<View>>>,
    leads: watch::Sender<Leads>,
    namespaces: watch::Sender<BTreeSet<String>>,
    refusals: watch::Sender<Refusals>,
    phases: watch::Sender<Phases>,
}

/// Runs a controller until `end` says true; then hands over to another replica.
///
/// # Errors
/// When it cannot start, or a part of it fails.
pub async fn run(settings: Settings, end: watch::Receiver<bool>) -> Result<(), Error> {
    let config = kube::Config::infer().await?;
    let client = Client::try_from(config).map_err(|error| Error::Api(write::message(&error)))?;
    let shared = Shared::new(settings, client)?;
    let Shared { settings, client, state, metrics, hub, .. } = &shared;

    let authorities = Authorities::open(shared.running());
    let authorities = authorities.await.map_err(|error| Error::Authority(Box::new(error)))?;
    let listener = TcpListener::bind(settings.listen).await.map_err(|e| Error::Listen(settings.listen, e))?;
    let told = Admin {
        metrics: metrics.clone(),
        state: state.clone(),
        views: shared.views.subscribe(),
        quotas: shared.quotas.clone(),
    };
    admin::serve(settings.admin, told).await.map_err(|e| Error::Listen(settings.admin, e))?;

    // Before the watches list: what is deleted by then is known to be.
    state.advance(revision(client).await.map_err(|error| Error::Api(write::message(&error)))?);
    let changes = watch::Sender::new(0);
    let watching = Watching {
        client: client.clone(),
        state: state.clone(),
        metrics: metrics.clone(),
        crds: changes.subscribe(),
    };
    KINDS.iter().for_each(|kind| kind.spawn(&watching));

    let trust = authorities.trust.subscribe();
    let environments = watch::Sender::new(shared.environment(&trust));
    let mut parts = JoinSet::new();
    parts.spawn(shared.server(&authorities).serve(listener));
    parts.spawn(mesh::run(client.clone(), shared.leads.subscribe(), changes.subscribe()));
    parts.spawn(crds(client.clone(), changes, shared.versions.clone()));
    parts.spawn(progress(client.clone(), state.clone(), metrics.clone()));
    parts.spawn(shared.provisioner(&environments).run());
    parts.spawn(shared.granter().run());
    parts.spawn(shared.writer().run());
    parts.spawn(authorities.run());
    parts.spawn(follow(trust, environments));
    parts.spawn(shared.control(References::new(watching)).run());
    parts.spawn(shared.quotas.clone().run());
    parts.spawn(grant(shared.leads.subscribe(), shared.quotas.clone(), shared.loads.clone()));
    parts.spawn(shared.runner().run());
    parts.spawn(shared.steerer().run());
    tokio::select! {
        () = shared.campaign().run(end) => {}
        _ = parts.join_next() => return Err(Error::Failed),
    }
    hub.set_open(false);
    tokio::time::sleep(FAREWELL).await;
    Ok(())
}

impl Shared {
    fn new(settings: Settings, client: Client) -> Result<Self, BadRedis> {
        let hub = Hub::new();
        // Whoever led before may have granted shares.
        let quotas = match &settings.redis {
            Some(redis) => Quotas::kept(hub.clone(), Redis::open(redis)?),
            None => Quotas::new(hub.clone(), true),
        };
        let loads = Loads::new(hub.clone());
        Ok(Self {
            settings,
            client,
            state: Arc::default(),
            metrics: Arc::new(Metrics::new()),
            hub,
            quotas,
            loads,
            versions: Arc::default(),
            views: watch::Sender::new(None),
            leads: watch::Sender::new(Leads::No),
            namespaces: watch::Sender::new(BTreeSet::new()),
            refusals: watch::Sender::new(Refusals::new()),
            phases: watch::Sender::new(Phases::new()),
        })
    }

    fn host(&self) -> String {
        format!("{}.{}.svc", self.settings.service, self.settings.namespace)
    }

    /// What our certificate is for.
    fn dns_names(&self) -> Vec<String> {
        let host = self.host();
        let advertised = self.settings.advertise.as_deref().and_then(|url| url.parse::<http::Uri>().ok());
        let advertised = advertised.and_then(|url| Some(url.host()?.trim_matches(['[', ']']).to_owned()));
        let names = [format!("{host}.cluster.local"), self.settings.service.clone(), host];
        names.into_iter().chain(advertised).collect()
    }

    fn running(&self) -> Running {
        Running {
            client: self.client.clone(),
            namespace: self.settings.namespace.clone(),
            dns_names: self.dns_names(),
            rotation: Rotation { period: self.settings.authority_period },
            leads: self.leads.subscribe(),
            metrics: self.metrics.clone(),
        }
    }

    fn environment(&self, trust: &watch::Receiver<String>) -> Environment {
        let settings = &self.settings;
        let service = || format!("https://{}:{}", self.host(), settings.listen.port());
        Environment {
            image: settings.image.clone(),
            waypoint_image: settings.waypoint_image.clone(),
            controller: settings.advertise.clone().unwrap_or_else(service),
            trust: trust.borrow().clone(),
        }
    }

    fn server(&self, authorities: &Authorities) -> Server {
        let domain = self.settings.trust_domain.clone();
        Server {
            hub: self.hub.clone(),
            quotas: self.quotas.clone(),
            loads: self.loads.clone(),
            tls: authorities.tls.subscribe(),
            authenticate: Arc::new(Tokens::new(self.client.clone(), self.views.subscribe(), domain)),
            issue: authorities.issuer.clone(),
        }
    }

    fn control(&self, references: References) -> Control {
        Control {
            state: self.state.clone(),
            references,
            hub: self.hub.clone(),
            views: self.views.clone(),
            namespaces: self.namespaces.clone(),
            metrics: self.metrics.clone(),
            epoch: self.settings.epoch,
            options: Options {
                controller_namespace: self.settings.namespace.clone(),
                is_cluster: true,
                ..Options::default()
            },
        }
    }

    fn provisioner(&self, environments: &watch::Sender<Environment>) -> Provisioner {
        Provisioner {
            client: self.client.clone(),
            views: self.views.subscribe(),
            leads: self.leads.subscribe(),
            environment: environments.subscribe(),
            refusals: self.refusals.clone(),
            metrics: self.metrics.clone(),
        }
    }

    fn granter(&self) -> Granter {
        Granter {
            client: self.client.clone(),
            account: (self.settings.account.clone(), self.settings.namespace.clone()),
            namespaces: self.namespaces.subscribe(),
            leads: self.leads.subscribe(),
            metrics: self.metrics.clone(),
        }
    }

    fn recorder(&self) -> Recorder {
        let reporter =
            Reporter { controller: CONTROLLER_NAME.into(), instance: Some(self.settings.replica.clone()) };
        Recorder::new(self.client.clone(), reporter)
    }

    fn runner(&self) -> Runner {
        Runner {
            client: self.client.clone(),
            state: self.state.clone(),
            views: self.views.subscribe(),
            leads: self.leads.subscribe(),
            loads: self.loads.clone(),
            recorder: self.recorder(),
            metrics: self.metrics.clone(),
        }
    }

    fn steerer(&self) -> Steerer {
        Steerer {
            client: self.client.clone(),
            namespace: self.settings.namespace.clone(),
            views: self.views.subscribe(),
            leads: self.leads.subscribe(),
            hub: self.hub.clone(),
            phases: self.phases.clone(),
            metrics: self.metrics.clone(),
        }
    }

    fn writer(&self) -> Writer {
        Writer {
            client: self.client.clone(),
            state: self.state.clone(),
            hub: self.hub.clone(),
            views: self.views.subscribe(),
            leads: self.leads.subscribe(),
            refusals: self.refusals.subscribe(),
            phases: self.phases.subscribe(),
            versions: self.versions.clone(),
            recorder: self.recorder(),
            metrics: self.metrics.clone(),
        }
    }

    fn campaign(&self) -> Campaign {
        Campaign {
            client: self.client.clone(),
            namespace: self.settings.namespace.clone(),
            name: "fairway-controller".into(),
            // A pod that starts again under its name is another candidate.
            identity: format!("{}_{:016x}", self.settings.replica, super::random_bits()),
            leads: self.leads.clone(),
            hub: self.hub.clone(),
            metrics: self.metrics.clone(),
        }
    }
}

/// Only who leads grants shares of limits, and asks for loads.
async fn grant(mut leads: watch::Receiver<Leads>, quotas: Quotas, loads: Loads) {
    loop {
        let lead = *leads.borrow_and_update();
        match lead {
            Leads::First => quotas.lead_first(),
            Leads::Next | Leads::No => quotas.lead(lead.now()),
        }
        loads.lead(lead.now());
        if leads.changed().await.is_err() {
            return;
        }
    }
}

/// Gives proxies the trust of now.
async fn follow(mut trust: watch::Receiver<String>, environments: watch::Sender<Environment>) {
    while trust.changed().await.is_ok() {
        let trust = trust.borrow_and_update().clone();
        environments.send_modify(|environment| environment.trust = trust);
    }
}

/// The newest revision of the cluster.
async fn revision(client: &Client) -> Result<u64, kube::Error> {
    let api: Api<Namespace> = Api::all(client.clone());
    let list = api.list_metadata(&ListParams::default().limit(1)).await?;
    Ok(list.metadata.resource_version.and_then(|version| version.parse().ok()).unwrap_or_default())
}

/// Lets the revision grow while nothing of ours changes, so that replicas agree. A revision counts as included once
/// watches that did not fail have had [`PROGRESS`] to deliver everything up to it: they deliver in milliseconds.
async fn progress(client: Client, state: Arc<State>, metrics: Arc<Metrics>) {
    let errors = |metrics: &Metrics| -> u64 {
        KINDS.iter().map(|kind| metrics.watch_errors.get_or_create(&kind.kind.into()).get()).sum()
    };
    let mut before: Option<(u64, u64)> = None;
    loop {
        if let Some((revision, then)) = before
            && errors(&metrics) == then
        {
            state.advance(revision);
        }
        let now = errors(&metrics);
        before = revision(&client).await.ok().map(|revision| (revision, now));
        tokio::time::sleep(PROGRESS).await;
    }
}
