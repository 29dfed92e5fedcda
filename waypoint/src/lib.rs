//! The mesh personality: serves captured Services, one port per (Service, port).

use std::io;
use std::sync::Arc;

use config::source::Source;
use proxy::telemetry::Telemetry;
use proxy::{Options, Proxy, Workers};

/// What a waypoint runs with unless told otherwise.
#[must_use]
pub fn options() -> Options {
    // Its clients are workloads and gateways of the mesh: what a gateway says of scheme and host holds behind it.
    Options { trusts_clients: true, ..Options::new("waypoint") }
}

/// Starts a waypoint: takes updates on the current runtime, serves on `workers`.
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
