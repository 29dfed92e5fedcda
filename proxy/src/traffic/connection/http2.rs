//! HTTP/2.

use std::time::Duration;

use pingora_core::protocols::http::v2::server::{H2Options, default_h2_options};
use policies::client_traffic::{ByteSize, Http2};

/// HTTP/2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Http2Rules {
    /// A stream's window bounds what a slow backend makes us hold of an upload.
    stream_window: u32,
    /// The connection's, all of them.
    connection_window: u32,
    streams: u32,
    pub(crate) keepalive: Option<Keepalive>,
}

/// PINGs of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keepalive {
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
}

impl Default for Http2Rules {
    fn default() -> Self {
        Self { stream_window: 256 * 1024, connection_window: 1024 * 1024, streams: 100, keepalive: None }
    }
}

impl Http2Rules {
    pub(super) fn compile(spec: Option<&Http2>) -> Self {
        let default = Self::default();
        let Some(spec) = spec else { return default };
        let keepalive = spec.connection_keepalive.as_ref();
        let timeout = keepalive.and_then(|keepalive| keepalive.timeout);
        let timeout = timeout.map_or(Duration::from_secs(20), |timeout| timeout.0);
        let interval = keepalive.and_then(|keepalive| keepalive.interval);
        Self {
            stream_window: window(spec.initial_stream_window_size, default.stream_window),
            connection_window: window(spec.initial_connection_window_size, default.connection_window),
            streams: spec.max_concurrent_streams.unwrap_or(default.streams),
            keepalive: interval.map(|interval| Keepalive { interval: interval.0, timeout }),
        }
    }

    /// For Pingora's codec.
    pub(crate) fn options(&self) -> H2Options {
        let mut options = default_h2_options();
        options
            .initial_window_size(self.stream_window)
            .initial_connection_window_size(self.connection_window)
            .max_concurrent_streams(self.streams);
        options
    }
}

fn window(given: Option<ByteSize>, default: u32) -> u32 {
    given.and_then(|size| u32::try_from(size.0).ok()).unwrap_or(default)
}
