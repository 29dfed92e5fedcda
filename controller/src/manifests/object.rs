//! From one document to typed objects.

use std::sync::{Arc, LazyLock};

use k8s_openapi::ByteString;

use super::decode::{self, decode};
use super::finding::{Code, Problem};
use super::node::{Key, Node, Value};
use super::schema::{self, Schema};
use super::{Ignored, yaml};
use crate::{Object, ObjectKey, ObjectKind, api};

/// What one document holds.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    /// Objects that we read, each with its line in the document.
    pub(super) objects: Vec<(ObjectKey, Object, u32)>,
    /// Objects that others read.
    pub(super) ignored: Vec<Ignored>,
}

type Decoded = Result<(Object, Vec<decode::Dropped>), decode::Error>;

/// A kind that we read.
struct Entry {
    kind: ObjectKind,
    group: &'static str,
    versions: &'static [&'static str],
    is_namespaced: bool,
    schema: LazyLock<Schema>,
    decode: fn(&Node) -> Decoded,
}

macro_rules! entries {
    ($( $kind:ident, $group:expr, $versions:expr, $namespaced:literal, $schema:path; )*) => { [ $( Entry {
        kind: ObjectKind::$kind,
        group: $group,
        versions: &$versions,
        is_namespaced: $namespaced,
        schema: LazyLock::new($schema),
        decode: |node| decode::<api::$kind>(node).map(|(object, dropped)| (object.into(), dropped)),
    } ),* ] };
}

const GATEWAY: &str = schema::gateway::GATEWAY_GROUP;

static KINDS: [Entry; 21] = entries! {
    GatewayClass, GATEWAY, ["v1", "v1beta1"], false, schema::gateway::gateway_class;
    Gateway, GATEWAY, ["v1", "v1beta1"], true, schema::gateway::gateway;
    ListenerSet, GATEWAY, ["v1"], true, schema::gateway::listener_set;
    HttpRoute, GATEWAY, ["v1", "v1beta1"], true, schema::route::http_route;
    GrpcRoute, GATEWAY, ["v1"], true, schema::route::grpc_route;
    TlsRoute, GATEWAY, ["v1"], true, schema::route::tls_route;
    TcpRoute, GATEWAY, ["v1"], true, schema::route::stream_route;
    UdpRoute, GATEWAY, ["v1"], true, schema::route::stream_route;
    ReferenceGrant, GATEWAY, ["v1", "v1beta1"], true, schema::policy::reference_grant;
    BackendTlsPolicy, GATEWAY, ["v1"], true, schema::policy::backend_tls_policy;
    ClientTrafficPolicy, "fairway.dev", ["v1alpha1"], true, schema::client_traffic::client_traffic_policy;
    FairwayProxy, "fairway.dev", ["v1alpha1"], true, schema::fairway_proxy::fairway_proxy;
    Rollout, "fairway.dev", ["v1alpha1"], true, schema::rollout::rollout;
    BackendTrafficPolicy, "fairway.dev", ["v1alpha1"], true, schema::attached::backend_traffic_policy;
    SecurityPolicy, "fairway.dev", ["v1alpha1"], true, schema::attached::security_policy;
    Service, "", ["v1"], true, schema::core::service;
    EndpointSlice, "discovery.k8s.io", ["v1"], true, schema::core::endpoint_slice;
    Pod, "", ["v1"], true, schema::pod::pod;
    Secret, "", ["v1"], true, schema::core::secret;
    ConfigMap, "", ["v1"], true, schema::core::config_map;
    Namespace, "", ["v1"], false, schema::core::namespace;
};

/// Other kinds of the core group: all others are misspelt.
const CORE: &[&str] = &[
    "Binding",
    "ComponentStatus",
    "Endpoints",
    "Event",
    "LimitRange",
    "Node",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "PodTemplate",
    "ReplicationController",
    "ResourceQuota",
    "ServiceAccount",
];

/// Parses one document.
pub(super) fn parse(text: &str) -> Result<Parsed, Vec<Problem>> {
    let mut parsed = Parsed::default();
    if let Some(root) = yaml::parse(text).map_err(|problem| vec![problem])? {
        let mut problems = Vec::new();
        document(root, &mut parsed, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
    }
    parsed.objects.shrink_to_fit();
    Ok(parsed)
}

fn document(node: Node, parsed: &mut Parsed, problems: &mut Vec<Problem>) {
    let refuse = |code, field: &str, reason: String, remedy: &str| Problem {
        line: node.line,
        column: node.column,
        code,
        object: name_of(&node),
        field: field.into(),
        reason,
        remedy: remedy.into(),
    };
    let (version, kind) = (node.text_of("apiVersion"), node.text_of("kind"));
    if version.is_empty() || kind.is_empty() {
        let field = if version.is_empty() { "apiVersion" } else { "kind" };
        let reason = "this is no Kubernetes object: the field is missing or no string".into();
        return problems.push(refuse(Code::NotAnObject, field, reason, "add it"));
    }
    if kind.ends_with("List") && node.has("items") {
        return list(node, parsed, problems);
    }
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    match find(group, version, kind) {
        Ok(Some(entry)) => match typed(entry, node) {
            Ok(object) => parsed.objects.push(object),
            Err(more) => problems.extend(more),
        },
        Ok(None) => {
            let object = name_of(&node);
            parsed.ignored.push(Ignored { object, line: node.line });
        }
        Err((field, reason, remedy)) => problems.push(refuse(Code::UnknownKind, field, reason, &remedy)),
    }
}

fn list(node: Node, parsed: &mut Parsed, problems: &mut Vec<Problem>) {
    let Value::Map(entries) = node.value else { return };
    for (key, value) in entries {
        match (&*key.name, value.value) {
            ("items", Value::List(items)) => {
                items.into_iter().for_each(|item| document(item, parsed, problems))
            }
            ("apiVersion" | "kind" | "metadata", _) | ("items", Value::Null) => {}
            _ => problems.push(Problem {
                line: key.line,
                column: key.column,
                code: Code::UnknownField,
                object: "List".into(),
                field: key.name.to_string(),
                reason: "a List has nothing but items".into(),
                remedy: "remove it, or write items as a list".into(),
            }),
        }
    }
}

/// The entry of a kind; `None` for a kind that others read; a field, reason and remedy when it should be ours.
#[allow(clippy::type_complexity, reason = "read once, here")]
fn find(
    group: &str,
    version: &str,
    kind: &str,
) -> Result<Option<&'static Entry>, (&'static str, String, String)> {
    let same_group = || KINDS.iter().filter(|entry| entry.group == group);
    if let Some(entry) = same_group().find(|entry| entry.kind.as_str() == kind) {
        if entry.versions.contains(&version) {
            return Ok(Some(entry));
        }
        let reason = format!("{kind} has no version {version:?} here");
        return Err(("apiVersion", reason, format!("use {}", api_version(entry))));
    }
    let names = same_group().map(|entry| entry.kind.as_str());
    let near = schema::nearest(kind, names);
    let is_ours =
        group == GATEWAY || group == "gateway.networking.x-k8s.io" || group.ends_with("fairway.dev");
    if is_ours || (group.is_empty() && !CORE.contains(&kind)) {
        if let Some(entry) = KINDS.iter().find(|entry| entry.kind.as_str() == kind) {
            let reason = format!("{kind} is of another group");
            return Err(("apiVersion", reason, format!("use {}", api_version(entry))));
        }
        let remedy = match near {
            Some(near) => format!("did you mean {near}?"),
            None => "remove it, or keep it in another directory".into(),
        };
        let group = if group.is_empty() { "the core group" } else { group };
        return Err(("kind", format!("this build reads no {kind} of {group}"), remedy));
    }
    Ok(None)
}

fn api_version(entry: &Entry) -> String {
    let version = entry.versions.first().copied().unwrap_or_default();
    if entry.group.is_empty() { version.to_owned() } else { format!("{}/{version}", entry.group) }
}

/// `Kind namespace/name`, as far as a document tells.
fn name_of(node: &Node) -> String {
    let kind = match node.text_of("kind") {
        "" => "object",
        kind => kind,
    };
    let part = |field| node.path(&["metadata", field]).and_then(Node::as_str);
    match (part("namespace"), part("name")) {
        (_, None) => kind.to_owned(),
        (None, Some(name)) => format!("{kind} {name}"),
        (Some(namespace), Some(name)) => format!("{kind} {namespace}/{name}"),
    }
}

fn typed(entry: &Entry, mut node: Node) -> Result<(ObjectKey, Object, u32), Vec<Problem>> {
    frame(entry, &mut node)?;
    let name = name_of(&node);
    let problems = schema::check(&entry.schema, &mut node, &name);
    if !problems.is_empty() {
        return Err(problems);
    }
    let at = |line, column, code, field: &str, reason: String, remedy: &str| Problem {
        line,
        column,
        code,
        object: name.clone(),
        field: field.into(),
        reason,
        remedy: remedy.into(),
    };
    let (mut object, dropped) = (entry.decode)(&node).map_err(|e| {
        vec![at(
            node.line,
            node.column,
            Code::WrongType,
            "",
            e.0,
            "compare the field with the API's reference",
        )]
    })?;
    let dropped: Vec<Problem> = dropped
        .into_iter()
        // The frame is checked above.
        .filter(|(_, _, path)| !matches!(path.as_str(), "apiVersion" | "kind"))
        .map(|(line, column, path)| {
            let reason = "this build's Gateway API types do not have the field".into();
            at(line, column, Code::UnknownField, &path, reason, "remove it")
        })
        .collect();
    if !dropped.is_empty() {
        return Err(dropped);
    }
    merge_string_data(&mut object);
    Ok((object.key(), object, node.line))
}

/// Sets the namespace the API server would set and takes off what only a cluster knows. A Rollout's status is how far it is:
/// whoever reads it goes on from there, as a controller does. A Pod's is where it is.
fn frame(entry: &Entry, node: &mut Node) -> Result<(), Vec<Problem>> {
    let name = name_of(node);
    let Value::Map(fields) = &mut node.value else { return Ok(()) };
    let is_read = matches!(entry.kind, ObjectKind::Rollout | ObjectKind::Pod);
    fields.retain(|(key, _)| is_read || &*key.name != "status");
    if entry.kind == ObjectKind::Pod {
        schema::pod::slim(fields);
    }
    let Some((_, metadata)) = fields.iter_mut().find(|(key, _)| &*key.name == "metadata") else {
        return Ok(());
    };
    let (line, column) = (metadata.line, metadata.column);
    let Value::Map(fields) = &mut metadata.value else { return Ok(()) };
    fields.retain(|(key, value)| {
        value.value != Value::Null && !matches!(&*key.name, "managedFields" | "ownerReferences")
    });
    let namespace = fields.iter().find(|(key, _)| &*key.name == "namespace");
    match (entry.is_namespaced, namespace) {
        (true, None) => {
            let value = Node { line, column, value: Value::text("default") };
            fields.push((Key { name: "namespace".into(), line, column }, value));
            Ok(())
        }
        (false, Some((key, _))) => Err(vec![Problem {
            line: key.line,
            column: key.column,
            code: Code::NotAllowed,
            object: name,
            field: "metadata.namespace".into(),
            reason: format!("a {} is in no namespace", entry.kind.as_str()),
            remedy: "remove it".into(),
        }]),
        _ => Ok(()),
    }
}

/// As the API server: `stringData` wins over `data`.
fn merge_string_data(object: &mut Object) {
    if let Object::Secret(secret) = object
        && let Some(secret) = Arc::get_mut(secret)
        && let Some(texts) = secret.string_data.take()
    {
        let data = secret.data.get_or_insert_default();
        data.extend(texts.into_iter().map(|(key, text)| (key, ByteString(text.into_bytes()))));
    }
}
