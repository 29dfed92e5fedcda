//! The edge personality: serves Gateway listeners.

use std::sync::Arc;

use config::source::Source;
use proxy::telemetry::Telemetry;
use proxy::{Options, Proxy};

/// What a gateway runs with unless told otherwise.
#[must_use]
pub fn options() -> Options {
    Options::new("gateway")
}

/// Starts a gateway on the current runtime.
#[must_use]
pub fn start(options: Options, telemetry: Arc<Telemetry>, source: Source) -> Proxy {
    Proxy::start(options, telemetry, source)
}
