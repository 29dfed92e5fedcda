//! The certificate authority: a Secret in the controller's namespace that all its replicas share.
//!
//! The leader exchanges it from time to time, see [`rotation`]: the new one is trusted before it signs, and the old one
//! while anything it signed lasts. Removing the Secret exchanges it at once: a running controller makes a new one and
//! keeps the old certificate beside it. Proxies trust that one as soon as it is mounted, about a minute later; streams
//! stay open, and whoever has to connect in between serves on with what it has.

mod kept;
mod rotation;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use config::identity::{Authority, AuthorityError, Identity, Issue, Refusal};
use config::xds::{ServerTls, TlsError};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use self::kept::Kept;
pub(crate) use self::rotation::Rotation;
use crate::cluster::leader::Leads;
use crate::cluster::metrics::Metrics;
use crate::cluster::write;

/// In the controller's namespace.
pub(crate) const SECRET: &str = "fairway-authority";

/// How often the Secret is looked at.
const LOOK: Duration = Duration::from_secs(15);
/// Our own certificate is valid for a day.
const RENEW: Duration = Duration::from_secs(8 * 3600);

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The API server.
    #[error("Secret {namespace}/{SECRET} cannot be read or made: {message}")]
    Api {
        /// Of the controller.
        namespace: String,
        /// What the API server says.
        message: String,
    },
    /// What is in the Secret.
    #[error("Secret {SECRET}")]
    Authority(#[from] AuthorityError),
    /// Our own certificate.
    #[error("the controller's certificate")]
    Tls(#[from] TlsError),
}

/// Signs with the authority of now.
pub(crate) struct Issuer(Mutex<Arc<Authority>>);

#[async_trait]
impl Issue for Issuer {
    async fn issue(&self, request: &[u8], identity: &Identity) -> Result<Vec<Vec<u8>>, Refusal> {
        let authority = Arc::clone(&self.0.lock());
        authority.issue(request, identity).await
    }
}

/// What the authorities of a controller are run with.
pub(crate) struct Running {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    /// What our own certificate is for.
    pub(crate) dns_names: Vec<String>,
    pub(crate) rotation: Rotation,
    pub(crate) leads: watch::Receiver<Leads>,
    pub(crate) metrics: Arc<Metrics>,
}

/// What is made of the Secret.
pub(crate) struct Authorities {
    api: Api<Secret>,
    running: Running,
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) tls: watch::Sender<Arc<ServerTls>>,
    /// What proxies have to trust, PEM.
    pub(crate) trust: watch::Sender<String>,
    version: String,
    /// Of the authority of now.
    certificate: String,
    renewed: Instant,
}

impl Authorities {
    /// Reads the Secret, or makes it.
    pub(crate) async fn open(running: Running) -> Result<Self, Error> {
        let api: Api<Secret> = Api::namespaced(running.client.clone(), &running.namespace);
        let secret = running.read(&api, None).await?;
        let kept = Kept::read(&secret)?;
        running.tell(&kept);
        Ok(Self {
            certificate: kept.authority.certificate().to_owned(),
            issuer: Arc::new(Issuer(Mutex::new(Arc::clone(&kept.authority)))),
            tls: watch::Sender::new(Arc::new(kept.tls(&running.dns_names)?)),
            trust: watch::Sender::new(kept.trust()),
            version: secret.metadata.resource_version.unwrap_or_default(),
            renewed: Instant::now(),
            api,
            running,
        })
    }

    /// Follows the Secret, exchanges the authority when it is time, and renews our own certificate, until the future is
    /// dropped.
    pub(crate) async fn run(mut self) {
        loop {
            sleep(LOOK).await;
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "the certificate authority stays as it was");
            }
        }
    }

    async fn look(&mut self) -> Result<(), Error> {
        let secret = self.running.read(&self.api, Some(&self.certificate)).await?;
        let secret = self.running.step(&self.api, secret).await?;
        let version = secret.metadata.resource_version.clone().unwrap_or_default();
        if version == self.version && self.renewed.elapsed() < RENEW {
            return Ok(());
        }
        let kept = Kept::read(&secret)?;
        self.running.tell(&kept);
        // Both ways of checking know the new one before it signs: the order matters only when it came unannounced.
        self.tls.send_replace(Arc::new(kept.tls(&self.running.dns_names)?));
        *self.issuer.0.lock() = Arc::clone(&kept.authority);
        let trust = kept.trust();
        self.trust.send_if_modified(|old| {
            let is_new = *old != trust;
            *old = trust;
            is_new
        });
        self.certificate = kept.authority.certificate().to_owned();
        (self.version, self.renewed) = (version, Instant::now());
        Ok(())
    }
}

impl Running {
    /// Does what is due to the authority, as leader, and returns the Secret of then.
    async fn step(&self, api: &Api<Secret>, secret: Secret) -> Result<Secret, Error> {
        if !self.leads.borrow().now() {
            return Ok(secret);
        }
        let kept = Kept::read(&secret)?;
        let Some(step) = self.rotation.due(&kept.dates(), Timestamp::now().as_second()) else {
            return Ok(secret);
        };
        let new = kept.after(step, self.rotation)?.write(Some(&secret));
        match api.replace(SECRET, &PostParams::default(), &new).await {
            Ok(new) => {
                tracing::info!(?step, "the certificate authority is exchanged, step by step");
                Ok(new)
            }
            // Somebody else wrote it: it is looked at again.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(secret),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// The Secret, made if there is none, with the certificate of the authority before. Of several replicas that make
    /// one, the first wins.
    async fn read(&self, api: &Api<Secret>, previous: Option<&str>) -> Result<Secret, Error> {
        if let Some(secret) = api.get_opt(SECRET).await.map_err(|error| self.failed(&error))? {
            return Ok(secret);
        }
        let secret = Kept::made(self.rotation, previous)?.write(None);
        match api.create(&PostParams::default(), &secret).await {
            Ok(secret) => Ok(secret),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                api.get(SECRET).await.map_err(|error| self.failed(&error))
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn tell(&self, kept: &Kept) {
        if let Some(current) = kept.dates().current {
            self.metrics.authority_expiry.set(current.ends);
        }
    }

    fn failed(&self, error: &kube::Error) -> Error {
        Error::Api { namespace: self.namespace.clone(), message: write::message(error) }
    }
}
