//! Certificates: the controller's own authority, and those that listeners show. Only certificates are looked at, never
//! keys.

use k8s_openapi::ByteString;
use rustls_pki_types::CertificateDer;

use super::count;
use crate::cluster::AUTHORITY_SECRET;
use crate::inspect::cluster::Cluster;
use crate::inspect::report::Section;
use crate::inspect::seen::Seen;
use crate::x509::{self, Validity};

const DAY: i64 = 24 * 3600;
/// The authority is exchanged long before this, so something keeps the controller from it.
const AUTHORITY_LEFT: i64 = 30 * DAY;
/// Whoever renews certificates does it long before a fifth of their life is left, or these days of a long one.
const LEFT: i64 = 21 * DAY;

pub(super) fn certificates(cluster: &Cluster) -> Section {
    let mut section = Section::new("certificates");
    authority(&mut section, cluster);
    let before = section.lines.len();
    let mut shown = 0;
    for (owner, listener) in listeners(cluster) {
        shown += of_listener(&mut section, cluster, owner, listener);
    }
    if section.lines.len() == before && shown > 0 {
        let message =
            format!("{} valid, and for the host names of its listener", count(shown, "certificate"));
        section.ok("listener-certificates", message);
    }
    section
}

fn authority(section: &mut Section, cluster: &Cluster) {
    const CHECK: &str = "authority";
    let own = cluster.namespace.as_str();
    if cluster.unreadable.contains_key("Secret") {
        return;
    }
    let called = format!("Secret {own}/{AUTHORITY_SECRET}");
    let Some(secret) = cluster.get("Secret", own, AUTHORITY_SECRET) else {
        let remedy = "a running controller makes it within 15 s; see its log";
        section.error(CHECK, format!("{called}, the certificate authority, is missing"), remedy);
        return;
    };
    let remedy = format!(
        "remove it, and the controller makes a new one: kubectl -n {own} delete secret {AUTHORITY_SECRET}"
    );
    let validity = certificate(secret, "ca.crt").and_then(|certificate| x509::validity(&certificate));
    match validity {
        Err(why) => {
            section.error(CHECK, format!("{called}, the certificate authority: ca.crt {why}"), remedy)
        }
        Ok(Validity { ends, .. }) => {
            let left = ends - cluster.now;
            let message = format!("the certificate authority {}", until(left));
            if left <= 0 {
                section.error(CHECK, message, remedy);
            } else if left < AUTHORITY_LEFT {
                section.warning(CHECK, message, "see the controller's log: it should have been exchanged");
            } else {
                section.ok(CHECK, message);
            }
        }
    }
}

/// Listeners with certificates of Gateways of ours and of their ListenerSets, with the object they are written in.
pub(in crate::inspect) fn listeners<'a>(cluster: &'a Cluster) -> Vec<(Seen<'a>, Seen<'a>)> {
    let gateways = cluster.gateways();
    let is_ours = |set: &Seen<'_>| gateways.iter().any(|gateway| is_set_of(*set, *gateway));
    let sets: Vec<Seen<'a>> = cluster.of("ListenerSet").into_iter().filter(is_ours).collect();
    let owners = gateways.iter().copied().chain(sets);
    owners.flat_map(|owner| owner.list("/spec/listeners").map(move |listener| (owner, listener))).collect()
}

/// Whether a ListenerSet names this Gateway.
pub(in crate::inspect) fn is_set_of(set: Seen<'_>, gateway: Seen<'_>) -> bool {
    let at = |field: &str| set.text(&format!("/spec/parentRef/{field}"));
    let namespace = if at("namespace").is_empty() { set.namespace() } else { at("namespace") };
    gateway.name() == at("name") && gateway.namespace() == namespace
}

/// The Secrets a listener shows: namespace and name.
pub(in crate::inspect) fn secrets(owner: Seen<'_>, listener: Seen<'_>) -> Vec<(String, String)> {
    let refs = listener.list("/tls/certificateRefs");
    refs.filter(|reference| matches!(reference.kind(), "" | "Secret"))
        .map(|reference| {
            let namespace = match reference.text("/namespace") {
                "" => owner.namespace(),
                namespace => namespace,
            };
            (namespace.to_owned(), reference.text("/name").to_owned())
        })
        .collect()
}

/// How many certificates were looked at. What is missing or no certificate is a condition of the listener.
fn of_listener(section: &mut Section, cluster: &Cluster, owner: Seen<'_>, listener: Seen<'_>) -> usize {
    const CHECK: &str = "listener-certificates";
    let place = format!("{}, listener {}", owner.called(), listener.text("/name"));
    let hostname = listener.text("/hostname");
    let mut found = Vec::new();
    for (namespace, name) in secrets(owner, listener) {
        let Some(secret) = cluster.get("Secret", &namespace, &name) else { continue };
        let Ok(certificate) = certificate(secret, "tls.crt") else { continue };
        match x509::validity(&certificate) {
            Ok(validity) => {
                time(section, cluster.now, &format!("{place}: Secret {namespace}/{name}"), validity);
            }
            Err(why) => section.error(
                CHECK,
                format!("{place}: Secret {namespace}/{name}: tls.crt {why}"),
                "put a certificate into it, PEM, leaf first",
            ),
        }
        found.push(certificate);
    }
    let is_covered = found.iter().any(|certificate| x509::is_for(certificate, hostname));
    if !hostname.is_empty() && !found.is_empty() && !is_covered {
        section.error(
            CHECK,
            format!("{place}: no certificate is for host name {hostname}: clients refuse it"),
            format!("use a certificate with {hostname} among its subject alternative names"),
        );
    }
    found.len()
}

fn time(section: &mut Section, now: i64, place: &str, validity: Validity) {
    const CHECK: &str = "listener-certificates";
    const REMEDY: &str = "renew it: the new one is served as soon as the Secret holds it, without a restart";
    let (left, life) = (validity.ends - now, validity.ends - validity.begins);
    if left <= 0 {
        section.error(CHECK, format!("{place}: its certificate {}", until(left)), REMEDY);
    } else if validity.begins > now {
        let message =
            format!("{place}: its certificate begins to be valid in {}", span(validity.begins - now));
        section.error(CHECK, message, "look at the clock of whoever issued it");
    } else if left < LEFT.min(life / 5) {
        section.warning(CHECK, format!("{place}: its certificate {}", until(left)), REMEDY);
    }
}

fn certificate(secret: Seen<'_>, key: &str) -> Result<CertificateDer<'static>, String> {
    let data = secret.0.get("data").and_then(|data| data.get(key)).ok_or("is missing")?;
    let bytes: ByteString = serde_json::from_value(data.clone()).map_err(|_| "is not base64")?;
    x509::first(&String::from_utf8(bytes.0).map_err(|_| "is not PEM text")?)
}

fn until(left: i64) -> String {
    if left > 0 { format!("expires in {}", span(left)) } else { format!("expired {} ago", span(-left)) }
}

fn span(seconds: i64) -> String {
    match seconds {
        s if s >= 2 * DAY => format!("{} days", s / DAY),
        s if s >= 7200 => format!("{} hours", s / 3600),
        s => format!("{} minutes", s / 60),
    }
}
