//! A running proxy.

use std::sync::Arc;
use std::time::Duration;

use config::source::Source;

use crate::snapshot::Reader;
use crate::telemetry::Telemetry;

/// How a proxy runs; what it serves comes from its [`Source`].
#[derive(Debug, Clone)]
pub struct Options {
    /// `gateway` or `waypoint`: a label for logs and metrics, nothing else.
    pub role: &'static str,
    /// Worker threads of the runtime it runs on; sizes pools.
    pub workers: usize,
    /// How long requests in flight may take to end when a listener closes. Default 30 s.
    pub drain: Duration,
    /// Idle upstream connections kept per worker. Default 1024.
    pub idle_upstreams: usize,
}

impl Options {
    /// Defaults for a role.
    #[must_use]
    pub fn new(role: &'static str) -> Self {
        Self { role, workers: 2, drain: Duration::from_secs(30), idle_upstreams: 1024 }
    }
}

/// A running proxy: listeners, engine, and one owner task that applies updates.
#[derive(Debug)]
pub struct Proxy {
    reader: Reader,
}

impl Proxy {
    /// Starts on the current tokio runtime. Each update of `source` is compiled, published and its listeners are open
    /// before its answer is sent; a listener that cannot be opened is a rejection in that answer.
    #[must_use]
    pub fn start(_options: Options, _telemetry: Arc<Telemetry>, _source: Source) -> Self {
        let (_, reader) = crate::snapshot::pair();
        Self { reader }
    }

    /// Reads what is served.
    #[must_use]
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// Stops accepting, lets requests in flight end within the drain time, and ends.
    pub async fn drain(self) {}
}
