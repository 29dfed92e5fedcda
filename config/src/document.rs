//! The IR as YAML documents: `key` beside the fields of the resource.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Key, Resource, Resources};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<R> {
    key: Key,
    resource: R,
}

/// Writes resources as one YAML document each, in key order. With `reveal` false, private keys become `[redacted]`.
///
/// # Errors
/// When a resource has no YAML form; none has today.
pub fn encode_documents(resources: &Resources, reveal: bool) -> Result<String, String> {
    let mut out = String::new();
    for (key, resource) in resources {
        let resource = if reveal { Resource::clone(resource) } else { resource.redacted() };
        out.push_str("---\n");
        let document = Document { key: key.clone(), resource };
        out.push_str(&serde_saphyr::to_string(&document).map_err(|e| format!("{key}: {e}"))?);
    }
    Ok(out)
}

/// Reads what [`encode_documents`] wrote.
///
/// # Errors
/// Place and reason of the first document that cannot be read, a key whose kind is not its resource's, or one that is
/// there twice.
pub fn decode_documents(text: &str) -> Result<Resources, String> {
    let documents: Vec<Document<Resource>> =
        serde_saphyr::from_multiple_with_options(text, options()).map_err(|e| e.to_string())?;
    let mut resources = Resources::new();
    for Document { key, resource } in documents {
        if key.kind != resource.kind() {
            return Err(format!("{key}: holds a {}", resource.kind().as_str()));
        }
        if resources.insert(key.clone(), Arc::new(resource)).is_some() {
            return Err(format!("{key}: is there twice"));
        }
    }
    Ok(resources)
}

/// Room for 100,000 routes and their backends; no aliases, which nothing writes and with which little text can ask for
/// much memory.
fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: 500_000,
            max_events: 100_000_000,
            max_nodes: 50_000_000,
            max_total_scalar_bytes: 1 << 30,
            max_aliases: 0,
            max_anchors: 0,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_for_5000_backends_is_read_again() {
        let backend = Arc::new(Resource::Backend(crate::Backend::default()));
        let key = |n| Key::new(crate::Kind::Backend, "demo", format!("service-{n}:80"));
        let resources: Resources = (0..5000).map(|n| (key(n), backend.clone())).collect();
        let text = encode_documents(&resources, true).unwrap();
        assert_eq!(decode_documents(&text).unwrap(), resources);
    }

    #[test]
    fn aliases_are_refused() {
        let text = "key: Backend/a/b:80\nresource: {kind: Backend, protocol: &p http, maxConnections: *p}\n";
        assert!(decode_documents(text).unwrap_err().contains("budget"));
    }
}
