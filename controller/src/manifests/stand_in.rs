//! What stands in for policies that do not load, when there is no state before it to serve on.
//!
//! A file that does not load serves what it said last. On a fresh start it has said nothing, and a policy that is left out
//! leaves its targets open. So the policies of such a file are in force, and one that is broken itself is replaced by one
//! about the same targets that refuses every request, as the translator has it for each policy that cannot be followed.
//! ClientTrafficPolicies are none of these: a listener without one has the safe defaults.

use std::path::PathBuf;
use std::sync::Arc;

use gateway_api::backendtlspolicies::{BackendTlsPolicySpec, BackendTlsPolicyTargetRefs};
use kube::core::ObjectMeta;

use super::finding::{Code, Finding, Problem};
use super::node::Node;
use super::object::{self, Parsed};
use super::schema::gateway::GATEWAY_GROUP;
use super::version::{Document, Version};
use super::{split, yaml};
use crate::api::{BackendTlsPolicy, BackendTrafficPolicy, SecurityPolicy};
use crate::attached_policy::TargetRef;
use crate::backend_traffic_policy::BackendTrafficPolicySpec;
use crate::resources::ObjectKind;
use crate::security_policy::SecurityPolicySpec;
use crate::{Object, ObjectKey};

/// Without them something is open that was to be closed.
const PROTECTING: [ObjectKind; 3] =
    [ObjectKind::SecurityPolicy, ObjectKind::BackendTrafficPolicy, ObjectKind::BackendTlsPolicy];

/// Such a policy that nobody can stand in for: what it is about cannot be told. With the line of its document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unknowable(pub(super) u32);

impl Unknowable {
    /// As it is told.
    pub(super) fn finding(self, file: &Arc<PathBuf>) -> Finding {
        Finding {
            file: file.clone(),
            line: self.0,
            column: u32::from(self.0 > 0),
            code: Code::Unknowable,
            object: String::new(),
            field: String::new(),
            reason: "may be a policy, and what it protects cannot be told".into(),
            remedy: "mend or remove it first: its targets would be open".into(),
        }
    }
}

/// The policies of a file that does not load.
pub(super) fn of(text: &str) -> Result<Version, Unknowable> {
    let mut version = Version { text: NO_MANIFEST.into(), ..Version::default() };
    for piece in split::split(text) {
        let source = text.get(piece.start..piece.end).unwrap_or_default();
        let objects = match object::parse(source) {
            Ok(parsed) => parsed.objects,
            Err(problems) => match yaml::parse(source) {
                Ok(root) => root.map_or(Ok(Vec::new()), |root| document(&root, &problems)),
                Err(_) if PROTECTING.iter().any(|kind| source.contains(kind.as_str())) => Err(()),
                Err(_) => Ok(Vec::new()),
            }
            .map_err(|()| Unknowable(piece.line))?,
        };
        let objects: Vec<_> =
            objects.into_iter().filter(|(key, ..)| PROTECTING.contains(&key.kind)).collect();
        if !objects.is_empty() {
            let parsed = Arc::new(Parsed { objects, ignored: Vec::new() });
            version.documents.push(Document { start: 0, end: NO_MANIFEST.len(), line: piece.line, parsed });
        }
    }
    Ok(version)
}

/// A text that no document of a file has: what stands in is replaced by whatever loads.
const NO_MANIFEST: &str = "\0";

type Objects = Vec<(ObjectKey, Object, u32)>;

fn document(node: &Node, problems: &[Problem]) -> Result<Objects, ()> {
    let kind = node.text_of("kind");
    if kind.ends_with("List") && node.has("items") {
        let items = node.get("items").map(Node::items).unwrap_or_default();
        return items
            .iter()
            .map(|item| document(item, problems))
            .collect::<Result<Vec<_>, ()>>()
            .map(|all| all.concat());
    }
    let Some(kind) = PROTECTING.into_iter().find(|protecting| protecting.as_str() == kind) else {
        return Ok(Vec::new());
    };
    let object = if kind == ObjectKind::BackendTlsPolicy {
        backend_tls_policy(node)?
    } else {
        attached(kind, node, problems)?
    };
    Ok(vec![(object.key(), object, node.line)])
}

fn attached(kind: ObjectKind, node: &Node, problems: &[Problem]) -> Result<Object, ()> {
    let target_refs = targets(node)?;
    let said: Vec<String> = problems
        .iter()
        .map(|problem| format!("{}: {}; {}", problem.field, problem.reason, problem.remedy))
        .collect();
    let does_not_load = Some(said.join("; "));
    let metadata = metadata(node);
    Ok(if kind == ObjectKind::SecurityPolicy {
        let spec = SecurityPolicySpec { target_refs, does_not_load, ..SecurityPolicySpec::default() };
        SecurityPolicy { metadata, spec, status: None }.into()
    } else {
        let spec =
            BackendTrafficPolicySpec { target_refs, does_not_load, ..BackendTrafficPolicySpec::default() };
        BackendTrafficPolicy { metadata, spec, status: None }.into()
    })
}

/// Without a host name and an authority it cannot be followed.
fn backend_tls_policy(node: &Node) -> Result<Object, ()> {
    let target_refs = targets(node)?
        .into_iter()
        .map(|TargetRef { group, kind, name, section_name }| BackendTlsPolicyTargetRefs {
            group,
            kind,
            name,
            section_name,
        })
        .collect();
    let spec = BackendTlsPolicySpec { target_refs, ..BackendTlsPolicySpec::default() };
    Ok(BackendTlsPolicy { metadata: metadata(node), spec, status: None }.into())
}

/// What it is about, both ways to write it.
fn targets(node: &Node) -> Result<Vec<TargetRef>, ()> {
    let one = node.path(&["spec", "targetRef"]);
    let all = node.path(&["spec", "targetRefs"]).map(Node::items).unwrap_or_default();
    let targets = one.into_iter().chain(all).map(target).collect::<Option<Vec<TargetRef>>>();
    targets.filter(|targets| !targets.is_empty()).ok_or(())
}

/// What a reference is to, in doubt to more: a section that cannot be read is all of it. `None`: it cannot be told.
fn target(node: &Node) -> Option<TargetRef> {
    let (kind, name) = (node.text_of("kind"), node.text_of("name"));
    let group = match kind {
        "Service" | "Namespace" => "",
        "GatewayClass" | "Gateway" | "ListenerSet" | "HTTPRoute" | "GRPCRoute" => GATEWAY_GROUP,
        _ => return None,
    };
    let section_name = node.get("sectionName").and_then(Node::as_str).map(str::to_owned);
    (!name.is_empty()).then(|| TargetRef {
        group: group.into(),
        kind: kind.into(),
        name: name.into(),
        section_name,
    })
}

fn metadata(node: &Node) -> ObjectMeta {
    let text = |field, default: &str| {
        let text = node.path(&["metadata", field]).and_then(Node::as_str).filter(|text| !text.is_empty());
        Some(text.unwrap_or(default).to_owned())
    };
    ObjectMeta {
        name: text("name", "without-name"),
        namespace: text("namespace", "default"),
        ..ObjectMeta::default()
    }
}
