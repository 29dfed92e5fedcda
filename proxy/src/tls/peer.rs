//! Who a verified client is: names and digests of its certificate, and the workload it names.
//!
//! A certificate with one name that cannot be what it says is nobody's: half of its names would say less than it does, and
//! rules that exclude names would be met.

use std::net::IpAddr;

use policies::caller::{Assurance, Peer, PeerName, Workload, spiffe_path, spiffe_workload};
use x509_parser::extensions::GeneralName;

use super::shown::sha256;

/// What the certificate of a verified client proves. `domains`: trust domains whose SPIFFE IDs name workloads. `None`: it is
/// nobody's.
pub(super) fn peer(leaf: &[u8], domains: &[Box<str>]) -> Option<Peer> {
    let (_, certificate) = x509_parser::parse_x509_certificate(leaf).ok()?;
    let san = certificate.subject_alternative_name().ok()?;
    let names = san.iter().flat_map(|san| &san.value.general_names).filter_map(name);
    let names: Vec<PeerName> = names.collect::<Option<_>>()?;
    let digest = |bytes: &[u8]| <[u8; 32]>::try_from(sha256(bytes)).ok();
    let digests = Some((digest(leaf)?, digest(certificate.public_key().raw)?));
    let peer = Peer { names, digests, ..Peer::default() };
    let workload = peer.spiffe().and_then(|id| workload(id, domains));
    Some(Peer { workload, ..peer })
}

/// An ID of a domain that is not believed names nobody: any authority of the bundle can write any.
fn workload(id: &str, domains: &[Box<str>]) -> Option<Workload> {
    let (domain, path) = spiffe_path(id)?;
    let (namespace, account) = spiffe_workload(path)?;
    domains.iter().any(|believed| **believed == *domain).then(|| Workload {
        namespace: namespace.to_owned(),
        service_account: account.to_owned(),
        assurance: Assurance::Certificate,
    })
}

/// `None`: a kind of name that nobody asks for. `Some(None)`: none.
fn name(name: &GeneralName<'_>) -> Option<Option<PeerName>> {
    // Visible ASCII: what RFC 5280 section 4.2.1.6 allows (IA5String), without controls, NUL above all, and spaces.
    let text = |text: &str| {
        let fits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| text.to_owned())
    };
    match name {
        GeneralName::DNSName(name) => Some(dns(name).map(PeerName::Dns)),
        GeneralName::URI(uri) => Some(text(uri).filter(|uri| uri.contains(':')).map(PeerName::Uri)),
        GeneralName::RFC822Name(address) => {
            let is_address = |text: &String| text.split('@').filter(|part| !part.is_empty()).count() == 2;
            Some(text(address).filter(is_address).map(PeerName::Email))
        }
        GeneralName::IPAddress(octets) => Some(address(octets).map(PeerName::Ip)),
        GeneralName::OtherName(..)
        | GeneralName::X400Address(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EDIPartyName(_)
        | GeneralName::RegisteredID(_) => None,
    }
}

/// Lower case: names of hosts have none. Underscores are there in practice; `*` may be a label, and is no wildcard of ours.
fn dns(name: &str) -> Option<String> {
    let is_label = |label: &str| {
        matches!(label.len(), 1..=63)
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    let labels = name.strip_prefix("*.").unwrap_or(name);
    (name.len() <= 253 && labels.split('.').all(is_label)).then(|| name.to_ascii_lowercase())
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(octets).ok().map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(octets).ok().map(IpAddr::from);
    v4().or_else(v6)
}

#[cfg(test)]
mod tests;
