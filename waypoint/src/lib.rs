//! The mesh personality: serves captured Services, one port per (Service, port).

use std::sync::Arc;

use config::source::Source;
use proxy::telemetry::Telemetry;
use proxy::{Options, Proxy};

/// Starts a waypoint on the current runtime.
#[must_use]
pub fn start(telemetry: Arc<Telemetry>, source: Source) -> Proxy {
    Proxy::start(Options::new("waypoint"), telemetry, source)
}
