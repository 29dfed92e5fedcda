//! ReferenceGrant and BackendTLSPolicy.

use super::super::node::Node;
use super::formats::{CA_SET, EXACT_HOSTNAME, QUALIFIED_NAME, URI};
use super::gateway::{group, hostname, kind_name, namespace, object_name, section_name};
use super::metadata::{NAME, kind};
use super::{Report, Schema, formatted, list, map, object, opt, req, text};

/// ReferenceGrant.
pub(in crate::manifests) fn reference_grant() -> Schema {
    let from = object([req("group", group()), req("kind", kind_name()), req("namespace", namespace())]);
    let to = object([req("group", group()), req("kind", kind_name()), opt("name", object_name())]);
    kind(NAME, [req("spec", object([req("from", list(from, 1, 16)), req("to", list(to, 1, 16))]))])
}

/// BackendTLSPolicy.
pub(in crate::manifests) fn backend_tls_policy() -> Schema {
    let target = object([
        req("group", group()),
        req("kind", kind_name()),
        req("name", object_name()),
        opt("sectionName", section_name()),
    ]);
    let ca = object([req("group", group()), req("kind", kind_name()), req("name", object_name())]);
    let name = object([
        req("type", Schema::Enum(&["Hostname", "URI"])),
        opt("hostname", hostname()),
        opt("uri", formatted(1, 253, &URI)),
    ])
    .rule(subject_alt_name);
    let validation = object([
        req("hostname", formatted(1, 253, &EXACT_HOSTNAME)),
        opt("caCertificateRefs", list(ca, 0, 8)),
        opt("wellKnownCACertificates", formatted(1, 253, &CA_SET)),
        opt("subjectAltNames", list(name, 0, 5)),
    ])
    .rule(trust);
    let spec = object([
        req("targetRefs", list(target, 1, 16).rule(targets)),
        req("validation", validation),
        opt("options", map(text(0, 4096), 16).keys(&QUALIFIED_NAME)),
    ]);
    kind(NAME, [req("spec", spec)])
}

fn subject_alt_name(node: &Node, report: &mut Report<'_>) {
    let (set, unset) =
        if node.text_of("type") == "Hostname" { ("hostname", "uri") } else { ("uri", "hostname") };
    if !node.has(set) {
        report.broken(node, set, format!("is required for type {}", node.text_of("type")), "add it");
    } else if node.has(unset) {
        report.broken(node, unset, format!("does not go with type {}", node.text_of("type")), "remove it");
    }
}

fn trust(node: &Node, report: &mut Report<'_>) {
    let has_refs = node.get("caCertificateRefs").is_some_and(|refs| !refs.items().is_empty());
    match (has_refs, node.has("wellKnownCACertificates")) {
        (true, true) => {
            let reason = "caCertificateRefs and wellKnownCACertificates exclude each other";
            report.broken(node, "wellKnownCACertificates", reason, "keep one of them");
        }
        (false, false) => {
            let reason = "nobody is trusted to sign the backend's certificate";
            report.broken(node, "caCertificateRefs", reason, "add it, or wellKnownCACertificates: System");
        }
        _ => {}
    }
}

fn targets(node: &Node, report: &mut Report<'_>) {
    let identity = |t: &Node| ["group", "kind", "name"].map(|field| t.text_of(field).to_owned());
    for (index, target) in node.items().iter().enumerate() {
        for other in node.items().iter().take(index).filter(|other| identity(other) == identity(target)) {
            let (one, two) = (other.text_of("sectionName"), target.text_of("sectionName"));
            if one == two || one.is_empty() || two.is_empty() {
                let reason = "the same target is named twice";
                let remedy = "give each reference to it a sectionName of its own";
                return report.broken(target, &format!("[{index}]"), reason, remedy);
            }
        }
    }
}
