//! Who sends a request, as far as it has been found out. What one policy learns reaches the next through this, never
//! through header fields, which clients write.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};
use smallvec::SmallVec;

/// What is known of a caller. The engine fills in what the connection proves, before the chain runs; policies that
/// authenticate add what the request proves.
#[derive(Debug, Default)]
pub struct Caller {
    /// What the connection proves.
    pub peer: Option<Arc<Peer>>,
    /// Tokens that were verified, in the order of their providers.
    pub tokens: SmallVec<[Token; 1]>,
    /// The client an API key belongs to.
    pub api_client: Option<Arc<str>>,
    /// The user of Basic authentication.
    pub user: Option<Arc<str>>,
}

/// What a connection proves of who has opened it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peer {
    /// Names in the client's certificate, which was verified.
    pub names: Vec<PeerName>,
    /// SHA-256 of the certificate, and of its public key (SPKI).
    pub digests: Option<([u8; 32], [u8; 32])>,
    /// The workload, and how sure that is.
    pub workload: Option<Workload>,
}

/// A subject alternative name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerName {
    /// Of a host.
    Dns(String),
    /// Such as a SPIFFE identity.
    Uri(String),
    /// A mail address.
    Email(String),
    /// An address.
    Ip(std::net::IpAddr),
}

/// A workload in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Its namespace.
    pub namespace: String,
    /// Its ServiceAccount.
    pub service_account: String,
    /// What says so.
    pub assurance: Assurance,
}

/// How sure it is who a workload is; the greater, the surer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assurance {
    /// The address it has in the network.
    Network,
    /// A token that Kubernetes has signed.
    Token,
    /// A certificate.
    Certificate,
}

/// A verified token.
#[derive(Clone)]
pub struct Token {
    /// Name of the provider that verified it.
    pub provider: Arc<str>,
    /// Its claims.
    pub claims: Arc<Map<String, Value>>,
}

/// Claims are about people; logs are not for them.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("provider", &self.provider).finish_non_exhaustive()
    }
}
