//! HTTP/2.

use std::time::Duration;

use pingora_core::protocols::http::v2::server::{H2Options, default_h2_options};
use policies::client_traffic::{ByteSize, Http2, InvalidMessage};

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
    /// # Errors
    /// Field, reason and remedy.
    pub(super) fn compile(spec: Option<&Http2>) -> Result<Self, String> {
        let default = Self::default();
        let Some(spec) = spec else { return Ok(default) };
        if spec.on_invalid_message == Some(InvalidMessage::TerminateConnection) {
            // Most of them are reset inside the codec, which does not tell.
            return Err("http2.onInvalidMessage: only TerminateStream is supported: leave it out".to_owned());
        }
        let streams = spec.max_concurrent_streams.unwrap_or(default.streams);
        if !(1..=100_000).contains(&streams) {
            return Err("http2.maxConcurrentStreams: write 1 to 100000".to_owned());
        }
        let keepalive = match &spec.connection_keepalive {
            None => None,
            Some(keepalive) => {
                let interval = keepalive.interval.map(|interval| interval.0);
                let timeout = keepalive.timeout.map_or(Duration::from_secs(20), |timeout| timeout.0);
                if interval.is_some_and(|interval| interval < Duration::from_secs(1)) {
                    return Err("http2.connectionKeepalive.interval: write 1s or more".to_owned());
                }
                if timeout.is_zero() {
                    return Err("http2.connectionKeepalive.timeout: write more than zero".to_owned());
                }
                interval.map(|interval| Keepalive { interval, timeout })
            }
        };
        Ok(Self {
            stream_window: window(
                "initialStreamWindowSize",
                spec.initial_stream_window_size,
                default.stream_window,
            )?,
            connection_window: window(
                "initialConnectionWindowSize",
                spec.initial_connection_window_size,
                default.connection_window,
            )?,
            streams,
            keepalive,
        })
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

/// RFC 9113 section 6.9.2: "65,535 octets" to begin with, and 6.9.1: at most 2^31-1.
fn window(field: &str, given: Option<ByteSize>, default: u32) -> Result<u32, String> {
    let Some(given) = given else { return Ok(default) };
    match u32::try_from(given.0) {
        Ok(size @ 65_535..=0x7fff_ffff) => Ok(size),
        Ok(_) | Err(_) => Err(format!("http2.{field}: {given} is out of range: write 65535 to 2147483647")),
    }
}
