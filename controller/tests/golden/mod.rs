//! Reads golden cases and prints what they yield.
#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "only tests use it"
)]

pub(crate) mod expect;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fairway_controller::{Object, Options, Translation, api, status};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// Where cases are, each root with its own `base.yaml`: the translator's own, and those written from the
/// specification.
pub(crate) fn roots() -> [PathBuf; 2] {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    [testdata.join("spec"), testdata]
}

pub(crate) struct Case {
    /// `area/case`.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

impl Case {
    pub(crate) fn file_stem(&self) -> String {
        self.name.rsplit('/').next().unwrap().to_owned()
    }
}

/// Every `<area>/<case>.in.yaml`, by name.
pub(crate) fn cases(root: &Path) -> Vec<Case> {
    named(root, ".in.yaml").into_iter().map(|(name, path)| Case { name, path }).collect()
}

/// Outputs and request files without input.
pub(crate) fn orphans(root: &Path) -> Vec<PathBuf> {
    let inputs = named(root, ".in.yaml");
    [named(root, ".out.yaml"), named(root, ".requests.yaml")]
        .into_iter()
        .flatten()
        .filter(|(name, _)| !inputs.contains_key(name))
        .map(|(_, path)| path)
        .collect()
}

fn named(root: &Path, suffix: &str) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    for area in fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).filter(|p| p.is_dir()) {
        for path in fs::read_dir(&area).unwrap().map(|entry| entry.unwrap().path()) {
            if let Some(case) = path.file_name().unwrap().to_str().unwrap().strip_suffix(suffix) {
                let area = area.file_name().unwrap().to_str().unwrap();
                found.insert(format!("{area}/{case}"), path);
            }
        }
    }
    found
}

/// The options of a leading `# options:` comment. Without addresses there, a Gateway is reachable at
/// 192.0.2.1.
pub(crate) fn options(text: &str) -> Result<Options, String> {
    let comment = text.lines().take_while(|l| l.starts_with('#')).find_map(|l| l.strip_prefix("# options:"));
    let mut options: Options = match comment {
        Some(options) => serde_saphyr::from_str(options).map_err(|e| format!("# options: {e}"))?,
        None => Options::default(),
    };
    if !comment.is_some_and(|comment| comment.contains("addresses")) {
        let address = status::GatewayAddress { r#type: "IPAddress".into(), value: "192.0.2.1".into() };
        options.addresses = vec![address];
    }
    Ok(options)
}

/// Typed objects of several YAML documents. Lenient on purpose: what an API server would refuse must not harm
/// the translator either.
pub(crate) fn objects(text: &str) -> Result<Vec<Object>, String> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|e| e.to_string())?;
    documents.into_iter().filter(|document| !document.is_null()).map(|document| object(&document)).collect()
}

pub(crate) fn object(value: &Value) -> Result<Object, String> {
    let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    fn typed<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
        serde_json::from_value(value.clone()).map_err(|e| format!("{e} in {value}"))
    }
    Ok(match kind.as_str() {
        "GatewayClass" => typed::<api::GatewayClass>(value)?.into(),
        "Gateway" => typed::<api::Gateway>(value)?.into(),
        "ListenerSet" => typed::<api::ListenerSet>(value)?.into(),
        "HTTPRoute" => typed::<api::HttpRoute>(value)?.into(),
        "GRPCRoute" => typed::<api::GrpcRoute>(value)?.into(),
        "TLSRoute" => typed::<api::TlsRoute>(value)?.into(),
        "TCPRoute" => typed::<api::TcpRoute>(value)?.into(),
        "UDPRoute" => typed::<api::UdpRoute>(value)?.into(),
        "ReferenceGrant" => typed::<api::ReferenceGrant>(value)?.into(),
        "BackendTLSPolicy" => typed::<api::BackendTlsPolicy>(value)?.into(),
        "ClientTrafficPolicy" => typed::<api::ClientTrafficPolicy>(value)?.into(),
        "BackendTrafficPolicy" => typed::<api::BackendTrafficPolicy>(value)?.into(),
        "SecurityPolicy" => typed::<api::SecurityPolicy>(value)?.into(),
        "Service" => typed::<api::Service>(value)?.into(),
        "EndpointSlice" => typed::<api::EndpointSlice>(value)?.into(),
        "Pod" => typed::<api::Pod>(value)?.into(),
        "NetworkPolicy" => typed::<api::NetworkPolicy>(value)?.into(),
        "Secret" => typed::<api::Secret>(value)?.into(),
        "ConfigMap" => typed::<api::ConfigMap>(value)?.into(),
        "Namespace" => typed::<api::Namespace>(value)?.into(),
        "FairwayProxy" => typed::<api::FairwayProxy>(value)?.into(),
        "Rollout" => typed::<api::Rollout>(value)?.into(),
        other => return Err(format!("kind {other:?} is none we read")),
    })
}

/// Another object that says the same.
pub(crate) fn copy(object: &Object) -> Object {
    match object {
        Object::GatewayClass(o) => api::GatewayClass::clone(o).into(),
        Object::Gateway(o) => api::Gateway::clone(o).into(),
        Object::ListenerSet(o) => api::ListenerSet::clone(o).into(),
        Object::HttpRoute(o) => api::HttpRoute::clone(o).into(),
        Object::GrpcRoute(o) => api::GrpcRoute::clone(o).into(),
        Object::TlsRoute(o) => api::TlsRoute::clone(o).into(),
        Object::TcpRoute(o) => api::TcpRoute::clone(o).into(),
        Object::UdpRoute(o) => api::UdpRoute::clone(o).into(),
        Object::ReferenceGrant(o) => api::ReferenceGrant::clone(o).into(),
        Object::BackendTlsPolicy(o) => api::BackendTlsPolicy::clone(o).into(),
        Object::ClientTrafficPolicy(o) => api::ClientTrafficPolicy::clone(o).into(),
        Object::BackendTrafficPolicy(o) => api::BackendTrafficPolicy::clone(o).into(),
        Object::SecurityPolicy(o) => api::SecurityPolicy::clone(o).into(),
        Object::Service(o) => api::Service::clone(o).into(),
        Object::EndpointSlice(o) => api::EndpointSlice::clone(o).into(),
        Object::Pod(o) => api::Pod::clone(o).into(),
        Object::NetworkPolicy(o) => api::NetworkPolicy::clone(o).into(),
        Object::Secret(o) => api::Secret::clone(o).into(),
        Object::ConfigMap(o) => api::ConfigMap::clone(o).into(),
        Object::Namespace(o) => api::Namespace::clone(o).into(),
        Object::FairwayProxy(o) => api::FairwayProxy::clone(o).into(),
        Object::Rollout(o) => api::Rollout::clone(o).into(),
    }
}

/// What `now` says beyond `base`, as YAML.
pub(crate) fn print(now: &Translation, base: &Translation) -> String {
    let resources: Vec<Value> = now
        .resources
        .iter()
        .filter(|(key, resource)| base.resources.get(key) != Some(resource))
        .map(|(key, resource)| {
            let mut value = serde_json::to_value(&**resource).unwrap();
            if let config::Resource::Certificate(certificate) = &**resource {
                value = json!({ "chain": format!("[{} bytes]", certificate.chain.len()), "privateKey": "[redacted]" });
            }
            if let config::Resource::Secret(_) | config::Resource::ConfigMap(_) = &**resource {
                value = serde_json::to_value(resource.redacted()).unwrap();
            }
            let mut printed = Map::from_iter([("key".to_owned(), key.to_string().into())]);
            let Value::Object(fields) = value else { unreachable!() };
            printed.extend(fields.into_iter().filter(|(field, _)| field != "kind"));
            Value::Object(printed)
        })
        .collect();
    let status: Map<String, Value> = now
        .statuses
        .0
        .iter()
        .filter_map(|(key, status)| {
            let compact = |status| compact(serde_json::to_value(status).unwrap());
            let before = base.statuses.0.get(key).map_or(Value::Null, compact);
            Some((key.to_string(), difference(&before, compact(status))?))
        })
        .collect();
    serde_saphyr::to_string(&json!({ "resources": resources, "status": status })).unwrap()
}

/// What `now` says beyond `before`: of a mapping the fields that differ, with its name; of lists of one
/// length the entries that differ.
fn difference(before: &Value, now: Value) -> Option<Value> {
    match (before, now) {
        (before, now) if *before == now => None,
        (Value::Object(before), Value::Object(now)) => {
            let differs = |name: &str, value| match name {
                "name" => Some(value),
                name => difference(before.get(name).unwrap_or(&Value::Null), value),
            };
            Some(
                now.into_iter()
                    .filter_map(|(name, value)| Some((name.clone(), differs(&name, value)?)))
                    .collect(),
            )
        }
        (Value::Array(before), Value::Array(now)) if before.len() == now.len() => {
            Some(before.iter().zip(now).filter_map(|(before, now)| difference(before, now)).collect())
        }
        (_, now) => Some(now),
    }
}

/// Conditions and kinds on one line each; no `controllerName`, which is always ours.
pub(crate) fn compact(value: Value) -> Value {
    match value {
        Value::Object(kind) if kind.keys().eq(["group", "kind"]) => {
            format!("{}/{}", kind["group"].as_str().unwrap(), kind["kind"].as_str().unwrap()).into()
        }
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(name, _)| name != "controllerName")
            .map(|(name, value)| {
                let value = if name == "conditions" { conditions(&value) } else { compact(value) };
                (name, value)
            })
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(values) => values.into_iter().map(compact).collect(),
        other => other,
    }
}

fn conditions(value: &Value) -> Value {
    let text = |condition: &Value, field: &str| condition[field].as_str().unwrap().to_owned();
    let line = |c: &Value| {
        let generation =
            c.get("observedGeneration").map(|g| format!(" (generation {g})")).unwrap_or_default();
        let (kind, status, reason) = (text(c, "type"), text(c, "status"), text(c, "reason"));
        format!("{kind} {status} {reason}{generation}: {}", text(c, "message"))
    };
    value.as_array().unwrap().iter().map(line).collect()
}
