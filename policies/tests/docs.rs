//! What documentation shows must work.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot read its page has failed")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use fairway_policies::{BackendRef, Lookup, Material, ObjectRef, SecuritySet, Upstream};
use serde_json::Value;

/// Has everything a page refers to.
struct Everything;

#[derive(Debug)]
struct Backend;

impl Upstream for Backend {
    fn name(&self) -> &'static str {
        "backend"
    }
}

impl Lookup for Everything {
    fn backend(&self, _: &BackendRef) -> Option<Arc<dyn Upstream>> {
        Some(Arc::new(Backend))
    }

    fn material(&self, _: &ObjectRef) -> Option<Arc<Material>> {
        let key = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#, "A".repeat(43));
        let keys = Bytes::from(format!(r#"{{"keys":[{key}]}}"#));
        Some(Arc::new(Material(BTreeMap::from([("jwks".into(), keys.clone()), ("keys.json".into(), keys)]))))
    }
}

#[test]
fn every_policy_of_a_page_compiles() {
    for page in ["jwt.md"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(page);
        let text = std::fs::read_to_string(path).unwrap();
        let blocks: Vec<&str> =
            text.split("```yaml\n").skip(1).map(|block| block.split("```").next().unwrap()).collect();
        assert!(blocks.len() >= 2, "{page} shows nothing");
        for block in blocks {
            let mut manifest: Value =
                serde_saphyr::from_str(block).unwrap_or_else(|e| panic!("{e}\n{block}"));
            let spec = manifest["spec"].as_object_mut().unwrap();
            spec.remove("targetRefs").unwrap();
            let set: SecuritySet = serde_json::from_value(Value::Object(spec.clone()))
                .unwrap_or_else(|e| panic!("{e}\n{block}"));
            assert!(!set.is_empty(), "{block}");
            if let Err((part, invalid)) = set.compile(&Everything) {
                panic!("{part}: {invalid}\n{block}");
            }
        }
    }
}
