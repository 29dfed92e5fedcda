//! Who a proxy is: proved by a ServiceAccount token and, from its second connection on, by a short-lived certificate too.

mod authority;

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;

pub use self::authority::{Authority, AuthorityError};
use crate::Redacted;

/// What a proxy does. Gateways and waypoints see different parts of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Serves the listeners of one Gateway.
    Gateway,
    /// Serves the captured Services of one namespace.
    Waypoint,
}

impl Role {
    /// As it is written in a [`GatewayRef`].
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Waypoint => "waypoint",
        }
    }
}

/// The Gateway object that a proxy runs for; a waypoint's is of class `fairway-waypoint`. It decides what the proxy may
/// see, and all its replicas see the same. Written `role/namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatewayRef {
    /// What its proxies do.
    pub role: Role,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl GatewayRef {
    /// A reference.
    pub fn new(role: Role, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { role, namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for GatewayRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.role.as_str(), self.namespace, self.name)
    }
}

impl FromStr for GatewayRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (role, rest) = text.split_once('/')?;
            let role = [Role::Gateway, Role::Waypoint].into_iter().find(|known| known.as_str() == role)?;
            let (namespace, name) = rest.split_once('/')?;
            (!namespace.is_empty() && !name.is_empty() && !name.contains('/'))
                .then(|| Self::new(role, namespace, name))
        };
        parse().ok_or_else(|| format!("{text:?} is no proxy: write gateway/NAMESPACE/NAME or waypoint/…"))
    }
}

/// One proxy: a pod of a Gateway's Deployment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProxyId {
    /// What it runs for.
    pub gateway: GatewayRef,
    /// Name of its pod.
    pub pod: String,
}

impl fmt::Display for ProxyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.gateway, self.pod)
    }
}

/// Who a caller was found to be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Which proxy.
    pub proxy: ProxyId,
    /// Its name in certificates: `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT`. A stream is only opened when
    /// the caller's certificate holds the same.
    pub uri: String,
}

/// Why a caller is turned away. The message is for the operator of the proxy, who reads it in its log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The token is not valid: expired, of another audience, or not a token.
    #[error("{0}")]
    Unauthenticated(String),
    /// The token is valid, but its ServiceAccount runs no proxy of that Gateway.
    #[error("{0}")]
    Forbidden(String),
    /// It cannot be told now, for instance because the API server is away; the caller tries again.
    #[error("{0}")]
    Unavailable(String),
}

/// Decides who holds a token. In Kubernetes: TokenReview with our audience, then ServiceAccount → Gateway.
#[async_trait]
pub trait Authenticate: Send + Sync + 'static {
    /// Who holds this token. `claim` is who the caller says it is, which proves nothing: the answer's Gateway comes from
    /// the token's ServiceAccount. It may be used for the pod's name when the token does not name one. A caller whose
    /// claim names another Gateway than the answer is turned away by the server.
    ///
    /// Called once per stream and certificate, never per message. It may take seconds; it should have a deadline.
    ///
    /// # Errors
    /// When the caller shall be turned away.
    async fn authenticate(&self, token: &Redacted, claim: &ProxyId) -> Result<Identity, Refusal>;
}

/// Signs certificates for identities. [`Authority`] does with a key in memory.
#[async_trait]
pub trait Issue: Send + Sync + 'static {
    /// A certificate chain, DER, leaf first, for the public key of a signing request (PKCS#10, DER). Only the key is to
    /// be taken from the request, once its signature has proved that the caller holds it; the names in the certificate
    /// are those of `identity`.
    ///
    /// # Errors
    /// When the request cannot be used, or no certificate can be issued now.
    async fn issue(&self, request: &[u8], identity: &Identity) -> Result<Vec<Vec<u8>>, Refusal>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_read_as_it_is_written() {
        let gateway = GatewayRef::new(Role::Waypoint, "shop", "waypoint");
        assert_eq!(gateway.to_string(), "waypoint/shop/waypoint");
        assert_eq!(gateway.to_string().parse(), Ok(gateway));
        for wrong in ["", "gateway", "gateway/a", "gateway//b", "gateway/a/", "gateway/a/b/c", "router/a/b"] {
            assert!(wrong.parse::<GatewayRef>().is_err(), "{wrong}");
        }
    }
}
