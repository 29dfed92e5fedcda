//! Starts every part of the controller, and ends them in order.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use config::xds::{Hub, Server};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::runtime::events::{Recorder, Reporter};
use kube::{Api, Client};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::admin::{self, Admin};
use super::control::Control;
use super::grants::Granter;
use super::identity::{Authorities, AuthorityError, Tokens};
use super::leader::Campaign;
use super::metrics::Metrics;
use super::provision::{Environment, Provisioner};
use super::references::References;
use super::state::State;
use super::status::Writer;
use super::watch::{KINDS, Versions, Watching, crds};
use super::write;
use crate::CONTROLLER_NAME;

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
    /// Image of proxies.
    pub image: String,
    /// In the names of proxies' certificates.
    pub trust_domain: String,
    /// Of configurations; see `config::Generation`.
    pub epoch: u64,
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
    /// A part of the controller ended, which none should.
    #[error("a part of the controller has failed: see its log")]
    Failed,
}

/// Runs a controller until `end` says true; then hands over to another replica.
///
/// # Errors
/// When it cannot start, or a part of it fails.
pub async fn run(settings: Settings, end: watch::Receiver<bool>) -> Result<(), Error> {
    let config = kube::Config::infer().await?;
    let client = Client::try_from(config).map_err(|error| Error::Api(write::message(&error)))?;
    let (state, metrics, hub) = (Arc::new(State::default()), Arc::new(Metrics::new()), Hub::new());
    let versions = Arc::new(Versions::default());
    let views = watch::Sender::new(None);
    let leads = watch::Sender::new(false);
    let namespaces = watch::Sender::new(std::collections::BTreeSet::new());
    let refusals = watch::Sender::new(Default::default());
    let recorder = Recorder::new(
        client.clone(),
        Reporter { controller: CONTROLLER_NAME.into(), instance: Some(settings.replica.clone()) },
    );

    let host = format!("{}.{}.svc", settings.service, settings.namespace);
    let dns_names = vec![host.clone(), format!("{host}.cluster.local"), settings.service.clone()];
    let authorities = Authorities::open(&client, &settings.namespace, dns_names).await.map_err(authority)?;
    let listener = TcpListener::bind(settings.listen).await.map_err(|e| Error::Listen(settings.listen, e))?;
    let told = Admin { metrics: metrics.clone(), state: state.clone(), views: views.subscribe() };
    admin::serve(settings.admin, told).await.map_err(|e| Error::Listen(settings.admin, e))?;

    // Before the watches list: what is deleted by then is known to be.
    state.advance(revision(&client).await.map_err(|error| Error::Api(write::message(&error)))?);
    let changes = watch::Sender::new(0);
    let watching = Watching {
        client: client.clone(),
        state: state.clone(),
        metrics: metrics.clone(),
        crds: changes.subscribe(),
    };
    KINDS.iter().for_each(|kind| kind.spawn(&watching));

    let controller =
        settings.advertise.clone().unwrap_or_else(|| format!("https://{host}:{}", settings.listen.port()));
    let environment =
        |trust: String| Environment { image: settings.image.clone(), controller: controller.clone(), trust };
    let environments = watch::Sender::new(environment(authorities.trust.borrow().clone()));
    let mut parts = JoinSet::new();
    let server = Server {
        hub: hub.clone(),
        tls: authorities.tls.subscribe(),
        authenticate: Arc::new(Tokens::new(client.clone(), views.subscribe(), settings.trust_domain.clone())),
        issue: authorities.issuer.clone(),
    };
    parts.spawn(server.serve(listener));
    parts.spawn(crds(client.clone(), changes, versions.clone()));
    parts.spawn(progress(client.clone(), state.clone(), metrics.clone()));
    parts.spawn({
        let provisioner = Provisioner {
            client: client.clone(),
            views: views.subscribe(),
            leads: leads.subscribe(),
            environment: environments.subscribe(),
            refusals: refusals.clone(),
            metrics: metrics.clone(),
        };
        provisioner.run()
    });
    parts.spawn({
        let granter = Granter {
            client: client.clone(),
            account: (settings.account.clone(), settings.namespace.clone()),
            namespaces: namespaces.subscribe(),
            leads: leads.subscribe(),
            metrics: metrics.clone(),
        };
        granter.run()
    });
    parts.spawn({
        let writer = Writer {
            client: client.clone(),
            state: state.clone(),
            hub: hub.clone(),
            views: views.subscribe(),
            leads: leads.subscribe(),
            refusals: refusals.subscribe(),
            versions,
            recorder,
            metrics: metrics.clone(),
        };
        writer.run()
    });
    let mut trust = authorities.trust.subscribe();
    parts.spawn(authorities.run());
    let followed = {
        let (image, controller) = (settings.image.clone(), controller.clone());
        async move {
            while trust.changed().await.is_ok() {
                let trust = trust.borrow_and_update().clone();
                environments.send_replace(Environment {
                    image: image.clone(),
                    controller: controller.clone(),
                    trust,
                });
            }
        }
    };
    parts.spawn(followed);
    let references = References::new(watching);
    let control = Control {
        state,
        references,
        hub: hub.clone(),
        views,
        namespaces,
        metrics: metrics.clone(),
        epoch: settings.epoch,
    };
    parts.spawn(control.run());
    let campaign = Campaign {
        client,
        namespace: settings.namespace.clone(),
        name: "fairway-controller".into(),
        // A pod that starts again under its name is another candidate.
        identity: format!("{}_{:016x}", settings.replica, (super::random_unit() * 1e16) as u64),
        leads,
        hub: hub.clone(),
        metrics,
    };
    let campaign = campaign.run(end);
    tokio::select! {
        () = campaign => {}
        _ = parts.join_next() => return Err(Error::Failed),
    }
    hub.set_open(false);
    tokio::time::sleep(FAREWELL).await;
    Ok(())
}

fn authority(error: AuthorityError) -> Error {
    Error::Authority(Box::new(error))
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
