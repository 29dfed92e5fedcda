//! Facts of a request that rules ask for.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;
use http::{HeaderMap, HeaderName};

use super::bits::Bits;
use super::claims::Provider;
use super::digest::Digest;
use super::path::{Paths, Readings};
use super::table::{Exact, Fact, Prefixes, Seen, Texts};
use crate::caller::{Assurance, Peer, PeerName};
use crate::cidr::{Cidr, CidrMap};
use crate::{Context, Request, head};

/// What all rules of a policy ask for.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) methods: Fact<Texts>,
    pub(super) paths: Fact<Paths>,
    pub(super) grpc: Fact<Paths>,
    pub(super) hosts: Fact<Hosts>,
    pub(super) addresses: Fact<Addresses>,
    pub(super) accounts: Fact<Accounts>,
    pub(super) namespaces: Fact<Texts>,
    pub(super) min_assurance: MinAssurance,
    pub(super) certificates: CertificateFacts,
    pub(super) api_clients: Fact<Texts>,
    pub(super) users: Fact<Texts>,
    pub(super) headers: Box<[(HeaderName, Fact<Texts>)]>,
    pub(super) providers: Box<[Provider]>,
}

/// What rules ask of certificates.
#[derive(Debug)]
pub(super) struct CertificateFacts {
    pub(super) spiffe: Fact<SpiffeIds>,
    pub(super) dns: Fact<Texts>,
    pub(super) uris: Fact<Texts>,
    pub(super) emails: Fact<Texts>,
    pub(super) ips: Fact<Exact<IpAddr>>,
    pub(super) keys: Fact<Exact<Digest>>,
    pub(super) digests: Fact<Exact<Digest>>,
}

impl Facts {
    /// Takes out of `rules` those that the request fails. `deny`: which of them are Deny rules.
    pub(super) fn keep(&self, rules: &mut Bits, deny: Bits, req: &Request, ctx: &Context) {
        self.keep_operation(rules, deny, req);
        if !rules.is_empty() {
            self.keep_principal(rules, deny, ctx);
        }
        for (name, fact) in &self.headers {
            fact.keep(rules, deny, |texts| header(texts, &req.headers, name));
        }
    }

    fn keep_operation(&self, rules: &mut Bits, deny: Bits, req: &Request) {
        self.methods.keep(rules, deny, |texts| Seen::one(texts.get(req.method.as_str().as_bytes())));
        if self.paths.is_asked() || self.grpc.is_asked() {
            let readings = Readings::of(req.uri.path());
            self.paths.keep(rules, deny, |paths| paths.look(readings.as_ref()));
            self.grpc.keep(rules, deny, |paths| paths.look(readings.as_ref()));
        }
        if self.hosts.is_asked() {
            let host = head::host(req);
            self.hosts.keep(rules, deny, |hosts| Seen::known(host.map(|host| hosts.look(host))));
        }
    }

    fn keep_principal(&self, rules: &mut Bits, deny: Bits, ctx: &Context) {
        let caller = &ctx.caller;
        self.addresses.keep(rules, deny, |ranges| Seen::known(ctx.client.map(|client| ranges.0.get(client))));
        let peer = caller.peer.as_deref();
        self.keep_workload(rules, deny, peer);
        // Names and digests are of one certificate; where there are no digests there was none.
        self.certificates.keep(rules, deny, peer.filter(|peer| peer.digests.is_some()));
        let text = |texts: &Texts, text: &Option<Arc<str>>| {
            Seen::known(text.as_ref().map(|text| texts.get(text.as_bytes())))
        };
        self.api_clients.keep(rules, deny, |texts| text(texts, &caller.api_client));
        self.users.keep(rules, deny, |texts| text(texts, &caller.user));
        self.providers.iter().for_each(|provider| provider.keep(rules, deny, &caller.tokens));
    }

    fn keep_workload(&self, rules: &mut Bits, deny: Bits, peer: Option<&Peer>) {
        let workload = peer.and_then(|peer| peer.workload.as_ref());
        // To a rule that wants more assurance than there is, the workload is not known.
        let unsure = self.min_assurance.above(workload.map(|workload| workload.assurance));
        let (mut sure, mut rest) = (*rules & !unsure, *rules & unsure & deny);
        self.accounts.keep(&mut sure, deny, |accounts| {
            Seen::known(
                workload.map(|workload| accounts.look(&workload.namespace, &workload.service_account)),
            )
        });
        self.namespaces.keep(&mut sure, deny, |names| {
            Seen::known(workload.map(|workload| names.get(workload.namespace.as_bytes())))
        });
        rest |= sure;
        *rules = rest;
    }
}

impl CertificateFacts {
    fn keep(&self, rules: &mut Bits, deny: Bits, peer: Option<&Peer>) {
        if self.spiffe.is_asked() {
            let id = peer.and_then(Peer::spiffe);
            self.spiffe.keep(rules, deny, |ids| Seen::known(id.map(|id| ids.look(id.as_bytes()))));
        }
        let names = |look: &dyn Fn(&PeerName) -> Option<Bits>| {
            let all =
                peer.map(|peer| peer.names.iter().filter_map(look).fold(Bits::NONE, |all, one| all | one));
            Seen::known(all)
        };
        self.dns.keep(rules, deny, |texts| {
            names(&|name| {
                if let PeerName::Dns(name) = name { Some(texts.get(name.as_bytes())) } else { None }
            })
        });
        self.uris.keep(rules, deny, |texts| {
            names(&|name| if let PeerName::Uri(uri) = name { Some(texts.get(uri.as_bytes())) } else { None })
        });
        self.emails.keep(rules, deny, |texts| {
            names(&|name| {
                if let PeerName::Email(mail) = name { Some(texts.get(mail.as_bytes())) } else { None }
            })
        });
        self.ips.keep(rules, deny, |ips| {
            names(&|name| if let PeerName::Ip(ip) = name { Some(ips.get(&ip.to_canonical())) } else { None })
        });
        let digests = peer.and_then(|peer| peer.digests.as_ref());
        self.keys.keep(rules, deny, |keys| Seen::known(digests.map(|(_, key)| keys.get(key))));
        self.digests
            .keep(rules, deny, |all| Seen::known(digests.map(|(certificate, _)| all.get(certificate))));
    }
}

fn header(texts: &Texts, headers: &HeaderMap, name: &HeaderName) -> Seen {
    Seen::each(headers.get_all(name).iter().map(|value| texts.get(value.as_bytes())))
}

/// How sure rules want to be of who a workload is.
#[derive(Debug, Default)]
pub(super) struct MinAssurance {
    pub(super) network: Bits,
    pub(super) token: Bits,
    pub(super) certificate: Bits,
}

impl MinAssurance {
    /// Rules that want more than there is.
    fn above(&self, is: Option<Assurance>) -> Bits {
        match is {
            None => self.network | self.token | self.certificate,
            Some(Assurance::Network) => self.token | self.certificate,
            Some(Assurance::Token) => self.certificate,
            Some(Assurance::Certificate) => Bits::NONE,
        }
    }
}

/// Ranges of addresses.
#[derive(Debug)]
pub(super) struct Addresses(CidrMap<Bits>);

impl FromIterator<(Cidr, Bits)> for Addresses {
    fn from_iter<I: IntoIterator<Item = (Cidr, Bits)>>(ranges: I) -> Self {
        Self(CidrMap::new(&ranges.into_iter().collect::<Vec<_>>(), |a, b| a | b))
    }
}

/// ServiceAccounts.
#[derive(Debug)]
pub(super) struct Accounts {
    /// Names by namespace.
    named: HashMap<Box<str>, Texts, RandomState>,
    whole: Texts,
}

impl Accounts {
    fn look(&self, namespace: &str, name: &str) -> Bits {
        let named = self.named.get(namespace).map_or(Bits::NONE, |names| names.get(name.as_bytes()));
        named | self.whole.get(namespace.as_bytes())
    }
}

/// Namespace and name; `None`: any of the namespace.
pub(super) type Account = (Box<str>, Option<Box<str>>);

impl FromIterator<(Account, Bits)> for Accounts {
    fn from_iter<I: IntoIterator<Item = (Account, Bits)>>(accounts: I) -> Self {
        let mut named: BTreeMap<Box<str>, Vec<_>> = BTreeMap::new();
        let mut whole = Vec::new();
        for ((namespace, name), rules) in accounts {
            match name {
                Some(name) => named.entry(namespace).or_default().push((name.into_boxed_bytes(), rules)),
                None => whole.push((namespace.into_boxed_bytes(), rules)),
            }
        }
        let named =
            named.into_iter().map(|(namespace, names)| (namespace, names.into_iter().collect())).collect();
        Self { named, whole: whole.into_iter().collect() }
    }
}

/// SPIFFE IDs.
#[derive(Debug)]
pub(super) struct SpiffeIds {
    exact: Texts,
    below: Prefixes,
}

impl SpiffeIds {
    fn look(&self, id: &[u8]) -> Bits {
        self.exact.get(id) | self.below.get(id, false)
    }
}

/// An ID; or what IDs begin with, before a slash.
#[derive(Debug)]
pub(super) enum SpiffePattern {
    Exact(Box<[u8]>),
    Below(Box<[u8]>),
}

impl FromIterator<(SpiffePattern, Bits)> for SpiffeIds {
    fn from_iter<I: IntoIterator<Item = (SpiffePattern, Bits)>>(ids: I) -> Self {
        let (mut exact, mut below) = (Vec::new(), Vec::new());
        for (id, rules) in ids {
            match id {
                SpiffePattern::Exact(id) => exact.push((id, rules)),
                SpiffePattern::Below(id) => below.push((id, rules)),
            }
        }
        Self { exact: exact.into_iter().collect(), below: below.into_iter().collect() }
    }
}

/// Hosts.
#[derive(Debug)]
pub(super) struct Hosts {
    exact: Texts,
    /// With the dot they begin with.
    suffixes: Texts,
}

impl Hosts {
    /// Hosts compare without case, and a trailing dot names the same host.
    fn look(&self, host: &str) -> Bits {
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return self.get(host.to_ascii_lowercase().as_bytes());
        }
        self.get(host.as_bytes())
    }

    fn get(&self, host: &[u8]) -> Bits {
        let dots = host.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'.');
        let suffixes = dots.filter_map(|(at, _)| host.get(at..)).map(|suffix| self.suffixes.get(suffix));
        suffixes.fold(self.exact.get(host), |all, rules| all | rules)
    }
}

/// A host name; or a suffix with its dot.
#[derive(Debug)]
pub(super) enum HostPattern {
    Exact(Box<[u8]>),
    Suffix(Box<[u8]>),
}

impl FromIterator<(HostPattern, Bits)> for Hosts {
    fn from_iter<I: IntoIterator<Item = (HostPattern, Bits)>>(hosts: I) -> Self {
        let (mut exact, mut suffixes) = (Vec::new(), Vec::new());
        for (host, rules) in hosts {
            match host {
                HostPattern::Exact(host) => exact.push((host, rules)),
                HostPattern::Suffix(suffix) => suffixes.push((suffix, rules)),
            }
        }
        Self { exact: exact.into_iter().collect(), suffixes: suffixes.into_iter().collect() }
    }
}
