//! The edge personality: serves Gateway listeners.

use std::io;
use std::sync::Arc;

use config::source::Source;
use proxy::telemetry::Telemetry;
use proxy::{Options, Proxy, Workers};

/// What a gateway runs with unless told otherwise.
#[must_use]
pub fn options() -> Options {
    Options::new("gateway")
}

/// Starts a gateway: takes updates on the current runtime, serves on `workers`.
///
/// # Errors
/// As [`Proxy::start`].
pub fn start(
    options: Options,
    workers: Workers,
    telemetry: Arc<Telemetry>,
    source: Source,
) -> io::Result<Proxy> {
    Proxy::start(options, workers, telemetry, source)
}
