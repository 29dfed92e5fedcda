//! Listeners: what each is by itself.

use std::sync::Arc;

use config::{BackendRef, ClientValidation, Key, Listener, Protocol, Scope};

use super::route::{Attachable, Routes};
use super::rule::{self, Scene};
use super::stream::{self, Streams};
use crate::route::ListenerTable;
use crate::route::host::HostTable;
use crate::route::hosts::{HostPattern, Hosts};
use crate::snapshot::{Bind, Transport};
use crate::stream::{StreamHost, StreamTable};
use crate::tls::{Settings, Trust};
use crate::traffic::Traffic;
use crate::upstream::ClientIdentity;

/// A listener as it is served: the last version of it that could be.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) bind: Bind,
    pub(super) protocol: Protocol,
    pub(super) scope: Scope,
    /// Whose routes it serves.
    pub(super) parent: Attachable,
    /// `*`: any.
    host: String,
    name: Arc<str>,
    /// `namespace/name`.
    pub(super) certificates: Vec<String>,
    /// It ends TLS, whether or not it has a certificate to do so with.
    pub(super) is_terminating: bool,
    /// What is asked of clients.
    pub(super) clients: Option<ClientValidation>,
    pub(super) tls: Option<Arc<Settings>>,
    /// `namespace/name` of what is shown to backends.
    pub(super) backend_certificate: Option<String>,
    pub(super) identity: Option<Arc<ClientIdentity>>,
    pub(super) traffic: Arc<Traffic>,
    /// What a captured Service serves without routes.
    default: Hosts<HostTable>,
    default_streams: Hosts<StreamHost>,
    /// Its port has a place for it.
    pub(super) is_placed: bool,
}

impl Served {
    /// # Errors
    /// Field, reason and remedy.
    pub(super) fn read(key: &Key, spec: &Listener) -> Result<Self, String> {
        let host = match &spec.hostname {
            Some(host) if host == "*" => {
                return Err("hostname: leave it out to serve all host names".to_owned());
            }
            Some(host) => host_name(host).map_err(|e| format!("hostname: {e}"))?,
            None => "*".to_owned(),
        };
        let certificates = match (spec.protocol, &spec.tls) {
            (Protocol::Http | Protocol::Tcp | Protocol::Udp | Protocol::Tls, None) => Vec::new(),
            (Protocol::Https | Protocol::Tls, Some(tls)) => tls.certificates.clone(),
            (Protocol::Http, Some(_)) => return Err("tls: an HTTP listener has none".to_owned()),
            (Protocol::Tcp, Some(_)) => return Err("tls: a TCP listener has none: write TLS".to_owned()),
            (Protocol::Udp, Some(_)) => return Err("tls: a UDP listener has none".to_owned()),
            (Protocol::Https, None) => return Err("tls: an HTTPS listener needs a certificate".to_owned()),
        };
        if matches!(spec.protocol, Protocol::Tcp | Protocol::Udp) && host != "*" {
            return Err("hostname: a TCP or UDP listener is told none: leave it out".to_owned());
        }
        let traffic = Traffic::compile(spec.traffic.as_deref()).map_err(|e| format!("traffic.{e}"))?;
        let transport = if spec.protocol == Protocol::Udp { Transport::Udp } else { Transport::Tcp };
        let name = format!("{}/{}", key.namespace, key.name);
        let parent = Attachable::of(key, spec);
        Ok(Self {
            bind: Bind { transport, address: spec.address, port: spec.port },
            protocol: spec.protocol,
            scope: spec.scope.clone(),
            parent,
            host,
            name: name.into(),
            certificates,
            is_terminating: spec.tls.is_some(),
            clients: spec.tls.as_ref().and_then(|tls| tls.client_validation.clone()),
            tls: None,
            backend_certificate: spec.backend_certificate.clone(),
            identity: None,
            traffic,
            default: Hosts::default(),
            default_streams: Hosts::default(),
            is_placed: false,
        })
    }

    /// The captured Service, if it serves one.
    pub(super) fn service(&self) -> Option<&BackendRef> {
        match &self.scope {
            Scope::Service(captured) => Some(&captured.backend),
            Scope::Gateway => None,
        }
    }

    /// Compiles the forwarding that a captured Service has without routes (GEP-1294).
    pub(super) fn compile_default(&mut self, scene: Scene<'_>) {
        let Some(backend) = self.service() else { return };
        match self.protocol {
            Protocol::Http | Protocol::Https => self.default = rule::service_default(backend, scene),
            Protocol::Tls | Protocol::Tcp => {
                self.default_streams = stream::service_default(backend, scene.clusters, scene);
            }
            Protocol::Udp => {
                self.default_streams = stream::service_default(backend, scene.udp_clusters, scene);
            }
        }
    }

    pub(super) fn pattern(&self) -> HostPattern<'_> {
        HostPattern::parse(&self.host)
    }

    /// What its port serves for it.
    pub(super) fn table(&self, routes: &Routes) -> Arc<ListenerTable> {
        let hosts = routes.attached(&self.parent).map_or(&self.default, |attached| &attached.hosts);
        Arc::new(ListenerTable {
            host: self.pattern().key().into(),
            name: self.name.clone(),
            is_by_address: self.service().is_some(),
            trust: Trust::of(self.clients.as_ref(), &self.traffic.connection.tls),
            identity: self.identity.clone(),
            traffic: self.traffic.clone(),
            hosts: hosts.clone(),
            consumers: routes.consumers(&self.parent),
        })
    }

    /// What its port serves for it, when that is no HTTP.
    pub(super) fn streams(&self, streams: &Streams) -> Arc<StreamTable> {
        let hosts = streams.hosts(&self.parent).unwrap_or(&self.default_streams);
        // "TCPRoute" of a TLS listener: "the Gateway terminates" (Gateway API, TLS listeners of mode Terminate).
        let kinds: &[&str] = match (self.protocol, self.is_terminating) {
            (Protocol::Tls, true) => &["TLSRoute", "TCPRoute", "Service"],
            (Protocol::Tls, false) => &["TLSRoute", "Service"],
            (Protocol::Udp, _) => &["UDPRoute", "Service"],
            (Protocol::Tcp | Protocol::Http | Protocol::Https, _) => &["TCPRoute", "Service"],
        };
        Arc::new(StreamTable {
            name: self.name.clone(),
            is_captured: self.service().is_some(),
            identity: self.identity.clone(),
            kinds,
            hosts: hosts.clone(),
        })
    }
}

/// A host name in the form requests are looked up by: lower case.
///
/// # Errors
/// Why it cannot be one.
pub(super) fn host_name(name: &str) -> Result<String, String> {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let plain = name.strip_prefix("*.").unwrap_or(name);
    if name == "*" || (name.len() <= 253 && plain.split('.').all(is_label)) {
        Ok(name.to_ascii_lowercase())
    } else {
        Err(format!("{name:?} is not a host name: write example.com or *.example.com"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_the_whole_first_label_or_the_name_is_refused() {
        assert_eq!(host_name("*.Example.com").unwrap(), "*.example.com");
        assert_eq!(host_name("*").unwrap(), "*");
        for name in
            ["", "a*.example.com", "a.*.example.com", "*.*.com", "a..b", ".a", "a.", "a b", "a/b", "a:80"]
        {
            assert!(host_name(name).is_err(), "{name}");
        }
        assert!(host_name(&format!("{}.com", "a".repeat(64))).is_err());
        assert!(host_name(&["a"; 128].join(".")).is_err());
    }
}
