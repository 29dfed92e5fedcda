//! Envoy: one worker thread beside its main thread, static configuration.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::json;

use super::{Setup, route};
use crate::issuer::{AUDIENCE, ISSUER};

pub(super) fn command(program: &Path, setup: &Setup<'_>) -> Result<Command> {
    let file = setup.dir.join("envoy.yaml");
    fs::write(&file, text(setup)).context("envoy.yaml")?;
    let mut command = Command::new(program);
    command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "-c"]).arg(file);
    Ok(command)
}

pub(super) fn text(setup: &Setup<'_>) -> String {
    let mut out = "static_resources:\n  listeners:\n".to_owned();
    out.push_str(&listener(setup, setup.port, None));
    if !setup.job.h2c && !setup.job.plain_only {
        let (chain, key) = (setup.certificate.chain.display(), setup.certificate.key.display());
        let tls = format!(
            "      transport_socket:\n        name: tls\n        typed_config:\n          '@type': \
             type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext\n          \
             common_tls_context:\n            alpn_protocols: [h2, http/1.1]\n            tls_params: \
             {{tls_minimum_protocol_version: TLSv1_3}}\n            tls_certificates:\n            - \
             certificate_chain: {{filename: '{chain}'}}\n              private_key: {{filename: '{key}'}}\n"
        );
        out.push_str(&listener(setup, setup.tls_port, Some(&tls)));
    }
    let _ = write!(
        out,
        "  clusters:\n  - name: origin\n    type: STATIC\n    connect_timeout: 5s\n    circuit_breakers:\n      \
         thresholds: [{{max_connections: 100000, max_pending_requests: 100000, max_requests: 100000}}]\n    \
         load_assignment:\n      cluster_name: origin\n      endpoints:\n      - lb_endpoints:\n        - endpoint: \
         {{address: {{socket_address: {{address: {}, port_value: {}}}}}}}\n",
        setup.origin.ip(),
        setup.origin.port()
    );
    if setup.job.h2c {
        out.push_str(
            "    typed_extension_protocol_options:\n      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:\n        \
             '@type': type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions\n        \
             explicit_http_config: {http2_protocol_options: {}}\n",
        );
    }
    out
}

fn listener(setup: &Setup<'_>, port: u16, tls: Option<&str>) -> String {
    let mut out = format!(
        "  - name: l{port}\n    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}\n    \
         tcp_backlog_size: 4096\n    filter_chains:\n    - filters:\n      - name: http\n        typed_config:\n          \
         '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.\
         HttpConnectionManager\n          stat_prefix: bench\n          codec_type: AUTO\n          http_filters:\n{}          \
         - name: router\n            typed_config: {{'@type': \
         type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}\n          route_config:\n            \
         virtual_hosts:\n",
        tokens(setup)
    );
    let mut host = |name: &str, domain: &str, prefix: &str| {
        let _ = writeln!(
            out,
            "            - {{name: '{name}', domains: ['{domain}'], routes: [{{match: {{prefix: '{prefix}'}}, route: \
             {{cluster: origin}}}}]}}"
        );
    };
    if setup.job.routes == 0 {
        host("all", "*", "/");
    }
    for i in 0..setup.job.routes {
        let (domain, prefix) = route(i);
        host(&domain, &domain, &prefix);
    }
    out.push_str(tls.unwrap_or_default());
    out
}

/// Its filter for tokens. It can remember them, too, where they come again.
fn tokens(setup: &Setup<'_>) -> String {
    let tokens = setup.job.tokens.filter(|tokens| tokens.verified);
    let (Some(tokens), Some(issuer)) = (tokens, setup.issuer) else { return String::new() };
    let cache = tokens.again.then(|| json!({ "jwt_cache_size": 4096, "jwt_max_token_size": 8192 }));
    let provider = json!({
        "issuer": ISSUER, "audiences": [AUDIENCE], "forward": true, "local_jwks": { "inline_string": issuer.jwks },
        "claim_to_headers": [{ "claim_name": "sub", "header_name": "x-user" }], "jwt_cache_config": cache,
    });
    let filter = json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": { "bench": provider },
            "rules": [{ "match": { "prefix": "/" }, "requires": { "provider_name": "bench" } }],
        },
    });
    format!("          - {filter}\n")
}
