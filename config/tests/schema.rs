//! `deploy/schema/config.schema.json` is the JSON Schema of the IR as files hold it, for editors and for other sources
//! of configuration. It is generated from the types, so it is stale exactly when this test fails.
#![allow(clippy::unwrap_used, reason = "a test that cannot write JSON has failed")]

use std::path::Path;

use config::Resource;
use fairway_config as config;
use schemars::JsonSchema;

/// One document of a Fairway configuration, as `fairway translate` prints it.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "FairwayConfiguration")]
#[allow(dead_code, reason = "only its schema is used")]
struct Document {
    /// Names the resource: `Kind/namespace/name`.
    #[schemars(regex(
        pattern = r"^(Certificate|Secret|ConfigMap|Backend|Endpoints|SecurityPolicy|Listener|HttpRoute|GrpcRoute|TlsRoute|TcpRoute|UdpRoute)/[^/]+/.+$"
    ))]
    key: String,
    /// What the proxy should do.
    resource: Resource,
}

#[test]
fn the_committed_schema_is_that_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/schema/config.schema.json");
    let schema = schemars::schema_for!(Document);
    let generated = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "deploy/schema/config.schema.json is stale: run `just generate`, or \
         `UPDATE_GOLDEN=1 cargo test -p fairway-config --test schema`, and commit it"
    );
}
