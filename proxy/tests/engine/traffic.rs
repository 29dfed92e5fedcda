//! How a listener treats its connections (`traffic`).

mod bodies;
mod connections;
mod proxy_protocol;
mod times;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;

use fairway_proxy::telemetry::{Format, Telemetry, render};

use crate::harness::{backend, forward, route, stream_listener};

/// An HTTP listener with these rules in front of one backend.
fn held_to(traffic: &str, origin: SocketAddr) -> String {
    stream_listener("http", "HTTP", 0, &format!(", traffic: {traffic}"))
        + &backend("a", "http", &[origin])
        + &route("r", &format!("  - action: {}", forward("a")))
}

/// How many connections were turned away for this.
fn turned_away(telemetry: &Arc<Telemetry>, reason: &str) -> u64 {
    let mut text = String::new();
    render(std::slice::from_ref(telemetry), Format::OpenMetrics, &mut text).unwrap();
    let line = text.lines().find(|line| {
        line.starts_with("fairway_downstream_connections_refused_total")
            && line.contains(&format!("reason=\"{reason}\""))
    });
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default()
}
