//! The examples of the pages on policies are what a SecurityPolicy can say, with the Secrets that stand beside it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot read its page has failed")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use fairway_policies::{BackendRef, Lookup, Material, ObjectRef, Parts, SecuritySet, TrafficSet, Upstream};
use serde_json::{Map, Value};

/// Pages, and how many policies each shows.
const PAGES: [(&str, usize); 11] = [
    ("api-key-auth", 1),
    ("backend-traffic-policy", 2),
    ("basic-auth", 1),
    ("csrf", 1),
    ("denials", 1),
    ("exact-limits", 1),
    ("ext-auth", 3),
    ("global-limits", 1),
    ("ip-lists", 1),
    ("jwt", 4),
    ("rate-limits", 2),
];

#[derive(Debug)]
struct Backend(String);

impl Upstream for Backend {
    fn name(&self) -> &str {
        &self.0
    }
}

/// The Secrets of a page; and any backend.
struct Page(BTreeMap<String, Arc<Material>>);

impl Lookup for Page {
    fn backend(&self, backend: &BackendRef) -> Option<Arc<dyn Upstream>> {
        Some(Arc::new(Backend(backend.within("demo").to_string())))
    }

    fn material(&self, object: &ObjectRef) -> Option<Arc<Material>> {
        self.0.get(&object.within("demo").to_string()).cloned().or_else(|| Some(keys()))
    }
}

/// What pages do not show: keys of an issuer.
fn keys() -> Arc<Material> {
    let key = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#, "A".repeat(43));
    let keys: Bytes = format!(r#"{{"keys":[{key}]}}"#).into();
    Arc::new(Material(BTreeMap::from([("jwks".into(), keys.clone()), ("keys.json".into(), keys)])))
}

#[test]
fn every_example_of_every_page_compiles() {
    for (page, count) in PAGES {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/{page}.md"));
        let text = std::fs::read_to_string(file).unwrap();
        let examples = text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
        let documents: Vec<Map<String, Value>> = examples
            .flat_map(|example| example.split("---\n"))
            .map(|document| serde_saphyr::from_str(document).unwrap_or_else(|e| panic!("{page}: {e}")))
            .collect();
        let (policies, others): (Vec<_>, Vec<_>) = documents.into_iter().partition(|document| {
            matches!(document["kind"].as_str(), Some("SecurityPolicy" | "BackendTrafficPolicy"))
        });
        assert_eq!(policies.len(), count, "{page}");
        let secrets = Page(others.iter().map(secret).collect());
        for policy in policies {
            let mut spec = policy["spec"].as_object().unwrap().clone();
            assert!(spec.remove("targetRefs").is_some(), "{page}");
            let levels: Vec<Map<String, Value>> = ["defaults", "overrides"]
                .into_iter()
                .filter_map(|level| spec.remove(level)?.as_object().cloned())
                .collect();
            for parts in levels.into_iter().chain(Some(spec).filter(|spec| !spec.is_empty())) {
                match policy["kind"].as_str() {
                    Some("SecurityPolicy") => compiles::<SecuritySet>(page, parts, &secrets),
                    _ => compiles::<TrafficSet>(page, parts, &secrets),
                }
            }
        }
    }
}

fn compiles<S: Parts>(page: &str, parts: Map<String, Value>, lookup: &Page) {
    let set: S = serde_json::from_value(parts.into()).unwrap_or_else(|e| panic!("{page}: {e}"));
    assert!(!set.names().is_empty(), "{page}");
    set.compile(lookup).unwrap_or_else(|(part, e)| panic!("{page}: {part}: {e}"));
}

fn secret(document: &Map<String, Value>) -> (String, Arc<Material>) {
    assert_eq!(document["kind"], "Secret");
    let entries = document["stringData"].as_object().unwrap().iter();
    let entries = entries.map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned().into()));
    let name = format!("Secret demo/{}", document["metadata"].get("name").and_then(Value::as_str).unwrap());
    (name, Arc::new(Material(entries.collect())))
}
