//! The certificate authority: a Secret in the controller's namespace that all its replicas share.
//!
//! Removing the Secret exchanges the authority: a running controller makes a new one and keeps the old certificate beside
//! it, so that what the old one signed is accepted while it lasts. Proxies trust the new one as soon as it is mounted,
//! about a minute later; streams stay open, and whoever has to connect in between serves on with what it has.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use config::Redacted;
use config::identity::{Authority, AuthorityError, Identity, Issue, Refusal};
use config::xds::{ServerTls, TlsError};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Client};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::cluster::write;

/// In the controller's namespace.
pub(crate) const SECRET: &str = "fairway-authority";
const CERTIFICATE: &str = "ca.crt";
const KEY: &str = "ca.key";
/// Of the authority before, which is trusted while its certificates last.
const PREVIOUS: &str = "previous.crt";

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

/// What is made of the Secret.
pub(crate) struct Authorities {
    api: Api<Secret>,
    namespace: String,
    dns_names: Vec<String>,
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
    pub(crate) async fn open(
        client: &Client,
        namespace: &str,
        dns_names: Vec<String>,
    ) -> Result<Self, Error> {
        let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let secret = read(&api, namespace, None).await?;
        let kept = Kept::of(&secret)?;
        Ok(Self {
            certificate: kept.authority.certificate().to_owned(),
            issuer: Arc::new(Issuer(Mutex::new(Arc::clone(&kept.authority)))),
            tls: watch::Sender::new(Arc::new(kept.tls(&dns_names)?)),
            trust: watch::Sender::new(kept.trust),
            version: secret.metadata.resource_version.unwrap_or_default(),
            renewed: Instant::now(),
            api,
            namespace: namespace.to_owned(),
            dns_names,
        })
    }

    /// Follows the Secret and renews our own certificate, until the future is dropped.
    pub(crate) async fn run(mut self) {
        loop {
            sleep(LOOK).await;
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "the certificate authority stays as it was");
            }
        }
    }

    async fn look(&mut self) -> Result<(), Error> {
        let secret = read(&self.api, &self.namespace, Some(&self.certificate)).await?;
        let version = secret.metadata.resource_version.clone().unwrap_or_default();
        if version == self.version && self.renewed.elapsed() < RENEW {
            return Ok(());
        }
        let kept = Kept::of(&secret)?;
        let tls = kept.tls(&self.dns_names)?;
        *self.issuer.0.lock() = Arc::clone(&kept.authority);
        self.tls.send_replace(Arc::new(tls));
        let trust = kept.trust;
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

/// What a Secret holds.
struct Kept {
    authority: Arc<Authority>,
    trust: String,
}

impl Kept {
    fn of(secret: &Secret) -> Result<Self, AuthorityError> {
        let text = |key: &str| {
            let bytes = secret.data.as_ref().and_then(|data| data.get(key));
            bytes.and_then(|bytes| String::from_utf8(bytes.0.clone()).ok()).unwrap_or_default()
        };
        let certificate = text(CERTIFICATE);
        let authority = Arc::new(Authority::load(&certificate, &Redacted::new(text(KEY)))?);
        Ok(Self { authority, trust: format!("{certificate}{}", text(PREVIOUS)) })
    }

    fn tls(&self, dns_names: &[String]) -> Result<ServerTls, Error> {
        let serving = self.authority.serving(dns_names)?;
        Ok(ServerTls::new(&serving.chain, &serving.key, &self.trust)?)
    }
}

/// The Secret, made if there is none, with the certificate of the authority before. Of several replicas that make one,
/// the first wins.
async fn read(api: &Api<Secret>, namespace: &str, previous: Option<&str>) -> Result<Secret, Error> {
    let fail =
        |error: kube::Error| Error::Api { namespace: namespace.to_owned(), message: write::message(&error) };
    if let Some(secret) = api.get_opt(SECRET).await.map_err(fail)? {
        return Ok(secret);
    }
    let authority = Authority::generate()?;
    let mut secret = Secret { type_: Some("Opaque".into()), ..Secret::default() };
    secret.metadata.name = Some(SECRET.into());
    let key = authority.key();
    let texts = [(CERTIFICATE, authority.certificate()), (KEY, key.reveal())];
    let texts = texts.into_iter().chain(previous.map(|certificate| (PREVIOUS, certificate)));
    secret.data =
        Some(texts.map(|(key, text)| (key.to_owned(), ByteString(text.as_bytes().to_vec()))).collect());
    match api.create(&PostParams::default(), &secret).await {
        Ok(secret) => Ok(secret),
        Err(kube::Error::Api(status)) if status.code == 409 => api.get(SECRET).await.map_err(fail),
        Err(error) => Err(fail(error)),
    }
}
