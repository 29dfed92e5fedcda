//! The edge personality: serves Gateway listeners.

use std::sync::Arc;

use config::source::Source;
use proxy::telemetry::Telemetry;
use proxy::{Options, Proxy};

/// Starts a gateway on the current runtime.
#[must_use]
pub fn start(telemetry: Arc<Telemetry>, source: Source) -> Proxy {
    Proxy::start(Options::new("gateway"), telemetry, source)
}
