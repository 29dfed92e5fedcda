//! Fairway's waypoint, configured with its IR in a file: as many captured Services as a namespace may have, the first of
//! which is asked, and who has which address.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{Setup, fairway};

/// Captured Services.
pub(crate) const SERVICES: usize = 50;
/// Pods whose addresses are known.
const PODS: usize = 1000;

pub(super) fn command(program: &Path, setup: &Setup<'_>) -> Result<Command> {
    fairway::fed(program, setup, &documents(setup))
}

/// Each Service has a route of two rules, and one endpoint: the backend.
pub(super) fn documents(setup: &Setup<'_>) -> String {
    let mut out = String::new();
    for i in 0..SERVICES {
        let service = format!("{{namespace: shop, name: s{i}, port: 80}}");
        // The others get ports that the system chooses.
        let port = if i == 0 { setup.port } else { 0 };
        let _ = write!(
            out,
            "---\nkey: Listener/shop/s{i}:80\nresource:\n  kind: Listener\n  address: 127.0.0.1\n  port: {port}\n  protocol: HTTP\n  \
             scope: {{service: {{backend: {service}, waypoint: shop/waypoint}}}}\n  \
             traffic: {{limits: {{connectionsPerAddress: 0}}, connection: {{connectionLimit: {{value: 1000000}}}}}}\n\
             ---\nkey: Backend/shop/s{i}:80\nresource: {{kind: Backend, protocol: http}}\n\
             ---\nkey: Endpoints/shop/s{i}:80\nresource: {{kind: Endpoints, endpoints: [{{address: '{}'}}]}}\n\
             ---\nkey: HttpRoute/shop/r{i}\nresource:\n  kind: HttpRoute\n  parents: [{{service: {{backend: {service}, waypoint: shop/waypoint}}}}]\n  rules:\n  \
             - {{matches: [{{path: {{prefix: /api}}}}], action: {{forward: [{{weight: 1, target: {{backend: {service}}}}}]}}}}\n  \
             - {{matches: [{{path: {{prefix: /}}}}], action: {{forward: [{{weight: 1, target: {{backend: {service}}}}}]}}}}\n",
            setup.origin
        );
    }
    for i in 0..PODS {
        // The load's own address is the first pod's.
        let address =
            if i == 0 { "127.0.0.1".to_owned() } else { format!("10.0.{}.{}", i / 250, i % 250 + 1) };
        let _ = write!(
            out,
            "---\nkey: Workload/web/p{i}\nresource: {{kind: Workload, addresses: ['{address}'], serviceAccount: a{}, uid: u{i}}}\n",
            i % 20
        );
    }
    out
}
