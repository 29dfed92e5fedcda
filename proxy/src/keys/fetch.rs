//! One fetch: who is asked, and what of the answer is taken.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use config::{Backend, BackendRef, BackendTls, Endpoint, Endpoints, TrustedCa};
use http::header::{ACCEPT, HOST};
use http::{StatusCode, Uri};
use pingora_http::RequestHeader;
use policies::jwt::{BadKeySet, KeySet, LARGEST_SET};
use tokio::net::lookup_host;
use tokio::time::{Instant, timeout_at};

use super::reach::may_be_asked;
use super::source::Source;
use crate::call::{CallError, Limits, Net};
use crate::upstream::Cluster;

/// Time for a fetch, from name to keys.
const TIME: Duration = Duration::from_secs(5);

/// Fetches key sets; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Fetcher(Arc<Net>);

/// Why there are no new keys.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("{0:?} cannot be asked")]
    Uri(String),
    #[error("{0} is not resolved: {1}")]
    Resolve(String, #[source] io::Error),
    #[error(
        "{0} has only addresses that are this machine's own, link-local or a cloud's metadata service; name a backendRef"
    )]
    Forbidden(String),
    #[error("took more than 5 s")]
    Late,
    #[error(transparent)]
    Tls(#[from] policies::Invalid),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the answer is {0}, not 200")]
    Status(StatusCode),
    #[error(transparent)]
    Keys(#[from] BadKeySet),
}

impl Fetcher {
    pub(super) const fn new(net: Arc<Net>) -> Self {
        Self(net)
    }

    /// # Errors
    /// When nobody answers in 5 s with a set that can be used.
    pub(super) async fn fetch(&self, source: &Source) -> Result<KeySet, FetchError> {
        let deadline = Instant::now() + TIME;
        timeout_at(deadline, self.ask(source, deadline)).await.unwrap_or(Err(FetchError::Late))
    }

    async fn ask(&self, source: &Source, deadline: Instant) -> Result<KeySet, FetchError> {
        let uri: Uri = source.uri().parse().map_err(|_| FetchError::Uri(source.uri().to_owned()))?;
        let head = head(&uri).ok_or_else(|| FetchError::Uri(source.uri().to_owned()))?;
        let limits = Limits { deadline, body: LARGEST_SET, keep: true };
        let named = source.clusters.load_full();
        let clusters = if named.is_empty() { vec![resolve(&uri).await?] } else { named.to_vec() };
        let mut last = FetchError::Uri(source.uri().to_owned());
        for cluster in &clusters {
            match self.one(cluster, &head, limits).await {
                Ok(set) => return Ok(set),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn one(
        &self,
        cluster: &Arc<Cluster>,
        head: &RequestHeader,
        limits: Limits,
    ) -> Result<KeySet, FetchError> {
        let reply = self.0.call(cluster, head, None, limits).await?;
        // Nor are redirects followed: whoever can answer here could send us anywhere.
        if reply.head.status != StatusCode::OK {
            return Err(FetchError::Status(reply.head.status));
        }
        Ok(KeySet::parse(&reply.body)?)
    }
}

/// Without credentials of any kind: whoever names an address must not be shown ours.
fn head(uri: &Uri) -> Option<RequestHeader> {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let mut head = RequestHeader::build("GET", target.as_bytes(), None).ok()?;
    head.insert_header(HOST, uri.authority()?.as_str()).ok()?;
    head.insert_header(ACCEPT, "application/jwk-set+json, application/json").ok()?;
    Some(head)
}

/// Who the host of an `https` URI is, by the authorities of the system. Resolved, checked and then asked by address, so that
/// no second look at the name can lead elsewhere.
async fn resolve(uri: &Uri) -> Result<Arc<Cluster>, FetchError> {
    let bad = || FetchError::Uri(uri.to_string());
    let host = uri.host().filter(|_| uri.scheme_str() == Some("https")).ok_or_else(bad)?;
    let port = uri.port_u16().unwrap_or(443);
    let found =
        lookup_host((host, port)).await.map_err(|error| FetchError::Resolve(host.to_owned(), error))?;
    let allowed: Vec<SocketAddr> = found.filter(|address| may_be_asked(address.ip())).collect();
    if allowed.is_empty() {
        return Err(FetchError::Forbidden(host.to_owned()));
    }
    let tls = BackendTls { hostname: host.to_owned(), subject_alt_names: Vec::new(), ca: TrustedCa::System };
    let spec = Backend { tls: Some(tls), ..Backend::default() };
    // No namespace is empty: nobody's backend has this name.
    let backend = BackendRef { namespace: String::new(), name: host.to_owned(), port };
    let cluster = Cluster::new(backend, &spec, Arc::default())?;
    let endpoints = allowed.into_iter().map(|address| Endpoint { address, zone: None }).collect();
    cluster.set_endpoints(&Endpoints { endpoints });
    Ok(Arc::new(cluster))
}
