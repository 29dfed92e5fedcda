//! Configuration as text: what is read is written so that it is read again, and compiles or is rejected by name.

use std::sync::Arc;

use config::{Resource, Resources, Update, decode_documents, encode_documents};
use proxy::compile::Compiler;
use proxy::telemetry::Telemetry;

use crate::memory::bounded;

/// YAML documents.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(resources) = bounded(data.len(), 1 << 20, || decode_documents(text)) else { return };
    let written = encode_documents(&resources, true).expect("it has a form");
    assert_eq!(decode_documents(&written).as_ref(), Ok(&resources), "{written}");
    let shown = encode_documents(&resources, false).expect("it has a form");
    for resource in decode_documents(&shown).expect("it was written").values() {
        if let Resource::Certificate(certificate) = &**resource {
            assert_eq!(certificate.key.reveal(), "[redacted]", "{shown}");
        }
    }
    compile(&resources);
}

fn compile(resources: &Resources) {
    let compiler = || Compiler::new(Arc::new(Telemetry::default()));
    let update =
        |resources: &Resources| Update { version: 1, upserts: resources.clone(), removes: Vec::new() };
    let (_, rejections) = compiler().apply(update(resources));
    for rejection in &rejections {
        assert!(resources.contains_key(&rejection.key), "{rejection:?}");
    }
    // One by one it comes to the same.
    let mut one_by_one = compiler();
    let mut last = Vec::new();
    for (key, resource) in resources.iter() {
        let mut one = Resources::new();
        one.insert(key.clone(), resource.clone());
        last = one_by_one.apply(update(&one)).1;
    }
    let sorted = |mut rejections: Vec<config::Rejection>| {
        rejections.sort_by(|a, b| (&a.key, &a.message).cmp(&(&b.key, &b.message)));
        rejections
    };
    assert_eq!(sorted(last), sorted(rejections), "one by one");
}
