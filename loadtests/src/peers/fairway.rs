//! Fairway's gateway, configured with its IR in a file.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::json;

use super::{Setup, route};
use crate::issuer::{AUDIENCE, ISSUER};

pub(super) fn command(program: &Path, setup: &Setup<'_>) -> Result<Command> {
    fed(program, setup, &documents(setup))
}

/// A program of ours that reads this.
pub(super) fn fed(program: &Path, setup: &Setup<'_>, documents: &str) -> Result<Command> {
    let file = setup.dir.join("fairway.yaml");
    fs::write(&file, documents).context("fairway.yaml")?;
    let mut command = Command::new(program);
    command.arg("--config-file").arg(file);
    command.args(["--admin", &format!("127.0.0.1:{}", setup.admin_port), "--workers", "1", "--log", "off"]);
    Ok(command)
}

pub(super) fn documents(setup: &Setup<'_>) -> String {
    let mut out = String::new();
    let mut document = |key: &str, fields: &str| {
        let kind = key.split('/').next().unwrap_or_default();
        let _ = write!(out, "---\nkey: {key}\nresource:\n  kind: {kind}\n{fields}");
    };
    document(
        "Backend/bench/origin:80",
        if setup.job.h2c { "  protocol: h2c\n" } else { "  protocol: http\n" },
    );
    document("Endpoints/bench/origin:80", &format!("  endpoints:\n  - address: '{}'\n", setup.origin));
    let attached = match setup.issuer.filter(|_| setup.job.verifies()) {
        Some(issuer) => {
            let provider = json!({
                "name": "bench", "issuer": ISSUER, "audiences": [AUDIENCE], "localJWKS": { "inline": issuer.jwks },
                "claimToHeaders": [{ "claim": "sub", "header": "x-user" }],
            });
            let jwt = json!({ "providers": [provider] });
            document("SecurityPolicy/bench/tokens", &format!("  defaults:\n    jwt: {jwt}\n"));
            "  attached: [SecurityPolicy/bench/tokens]\n"
        }
        None => "",
    };
    let listener = |port, protocol| {
        // All clients have one address, and there may be more than anybody's.
        let traffic = "{limits: {connectionsPerAddress: 0}, connection: {connectionLimit: {value: 1000000}}}";
        format!(
            "  address: 127.0.0.1\n  port: {port}\n  protocol: {protocol}\n  scope: gateway\n  traffic: {traffic}\n{attached}"
        )
    };
    document("Listener/bench/gw/http", &listener(setup.port, "HTTP"));
    if !setup.job.h2c {
        let pem = |text: &str| text.lines().fold(String::new(), |all, line| all + "    " + line + "\n");
        let (chain, key) = (pem(&setup.certificate.chain_pem), pem(&setup.certificate.key_pem));
        document("Certificate/bench/cert", &format!("  chain: |\n{chain}  key: |\n{key}"));
        let tls = "  tls:\n    certificates: [bench/cert]\n";
        document("Listener/bench/gw/https", &(listener(setup.tls_port, "HTTPS") + tls));
    }
    if setup.job.routes == 0 {
        document("HttpRoute/bench/all", &http_route(setup, "*", "/"));
    }
    for i in 0..setup.job.routes {
        let (host, prefix) = route(i);
        document(&format!("HttpRoute/bench/r{i}"), &http_route(setup, &host, prefix.trim_end_matches('/')));
    }
    out
}

fn http_route(setup: &Setup<'_>, host: &str, prefix: &str) -> String {
    let sections = if setup.job.h2c { &["http"][..] } else { &["http", "https"] };
    let mut out = "  parents:\n".to_owned();
    for section in sections {
        let _ = writeln!(
            out,
            "  - listener:\n      namespace: bench\n      gateway: gw\n      section: {section}"
        );
        let _ = writeln!(out, "      hostnames: ['{host}']");
    }
    let _ = writeln!(out, "  rules:\n  - matches:\n    - path:\n        prefix: {prefix}");
    out.push_str("    action:\n      forward:\n      - weight: 1\n        target:\n          backend:\n");
    out.push_str("            namespace: bench\n            name: origin\n            port: 80\n");
    out
}
