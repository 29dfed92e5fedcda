//! Who sends a request, as far as it has been found out. What one policy learns reaches the next through this, never
//! through header fields, which clients write.

use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
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
    /// UID of the pod whose address the connection comes from, where addresses are asked.
    pub pod: Option<Arc<str>>,
}

impl Peer {
    /// The SPIFFE ID of the certificate. SPIFFE X509-SVID section 2: "An X.509 SVID MUST contain exactly one URI SAN", so a
    /// certificate with several is of nobody.
    #[must_use]
    pub fn spiffe(&self) -> Option<&str> {
        let mut uris = self.names.iter().filter_map(|name| match name {
            PeerName::Uri(uri) => Some(uri.as_str()),
            PeerName::Dns(_) | PeerName::Email(_) | PeerName::Ip(_) => None,
        });
        let uri = uris.next().filter(|uri| spiffe_path(uri).is_some())?;
        uris.next().is_none().then_some(uri)
    }
}

/// Trust domain and path of a SPIFFE ID; `None`: it is none. SPIFFE-ID section 2: lower case in the trust domain, no empty or
/// dot segments, no escapes, at most 2,048 bytes.
#[must_use]
pub fn spiffe_path(id: &str) -> Option<(&str, &str)> {
    let rest = id.strip_prefix("spiffe://").filter(|_| id.len() <= 2048)?;
    let (domain, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let in_domain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b);
    let in_segment = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
    let segment = |s: &str| !s.is_empty() && s != "." && s != ".." && s.bytes().all(in_segment);
    let fits = matches!(domain.len(), 1..=255)
        && domain.bytes().all(in_domain)
        && path.split('/').skip(1).all(segment);
    fits.then_some((domain, path))
}

/// The workload that the path of a SPIFFE ID names: `/ns/NAMESPACE/sa/SERVICEACCOUNT`, as Kubernetes meshes write it.
#[must_use]
pub fn spiffe_workload(path: &str) -> Option<(&str, &str)> {
    let mut segments = path.split('/');
    match std::array::from_fn(|_| segments.next()) {
        [Some(""), Some("ns"), Some(namespace), Some("sa"), Some(account), None] => {
            Some((namespace, account))
        }
        _ => None,
    }
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Assurance {
    /// The address it has in the network.
    Network,
    /// A token that Kubernetes has signed.
    Token,
    /// A certificate.
    Certificate,
}

impl Assurance {
    /// As policies and logs write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Network => "Network",
            Self::Token => "Token",
            Self::Certificate => "Certificate",
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spiffe_id_is_what_the_standard_says() {
        for (id, want) in [
            ("spiffe://td", Some(("td", ""))),
            ("spiffe://a-b_c.9/ns/web/sa/bff", Some(("a-b_c.9", "/ns/web/sa/bff"))),
            ("spiffe://td/A.b-c_D", Some(("td", "/A.b-c_D"))),
            ("spiffe://td/...", Some(("td", "/..."))),
            ("spiffe://", None),
            ("spiffe:///a", None),
            ("SPIFFE://td/a", None),
            ("https://td/a", None),
            ("spiffe://TD/a", None),
            ("spiffe://td:80/a", None),
            ("spiffe://u@td/a", None),
            ("spiffe://td/", None),
            ("spiffe://td//a", None),
            ("spiffe://td/a/", None),
            ("spiffe://td/./a", None),
            ("spiffe://td/../a", None),
            ("spiffe://td/%61", None),
            ("spiffe://td/a?b", None),
            ("spiffe://td/a#b", None),
            ("spiffe://td/\u{e9}", None),
            ("spiffe://td/a\0", None),
        ] {
            assert_eq!(spiffe_path(id), want, "{id:?}");
        }
        let long = |bytes: usize| format!("spiffe://td/{}", "a".repeat(bytes - 12));
        assert!(spiffe_path(&long(2048)).is_some() && spiffe_path(&long(2049)).is_none());
        let domain = |bytes: usize| format!("spiffe://{}", "a".repeat(bytes));
        assert!(spiffe_path(&domain(255)).is_some() && spiffe_path(&domain(256)).is_none());
    }

    #[test]
    fn a_certificate_with_several_uris_has_no_spiffe_id() {
        let peer = |uris: &[&str]| Peer {
            names: uris.iter().map(|uri| PeerName::Uri((*uri).to_owned())).collect(),
            ..Peer::default()
        };
        assert_eq!(peer(&["spiffe://td/a"]).spiffe(), Some("spiffe://td/a"));
        assert_eq!(peer(&["spiffe://td/a", "spiffe://td/b"]).spiffe(), None);
        assert_eq!(peer(&["spiffe://td/a", "https://td"]).spiffe(), None);
        assert_eq!(peer(&["https://td"]).spiffe(), None);
        assert_eq!(peer(&[]).spiffe(), None);
    }

    #[test]
    fn a_path_names_a_workload_in_one_form_only() {
        assert_eq!(spiffe_workload("/ns/web/sa/bff"), Some(("web", "bff")));
        for path in
            ["", "/ns/web/sa", "/ns/web/sa/bff/x", "/sa/bff/ns/web", "ns/web/sa/bff", "/x/ns/web/sa/bff"]
        {
            assert_eq!(spiffe_workload(path), None, "{path}");
        }
    }
}
