//! How many, how long, how much.

use std::time::Duration;

use policies::client_traffic::{self, ClientTraffic};

use super::for_ever;

/// How many connections, and how long they last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Of a port.
    pub(crate) connections: usize,
    /// How long what is more stays open.
    pub(crate) close_delay: Duration,
    /// Of one address; `None`: nothing is said.
    pub(crate) per_address: Option<usize>,
    /// How long a connection takes requests.
    pub(crate) duration: Option<Duration>,
    /// How many it takes.
    pub(crate) requests: Option<u32>,
    /// How long a request lasts.
    pub(crate) request: Option<Duration>,
    /// Frames of HTTP/2 that carry nothing, in 10 seconds.
    pub(crate) control_frames: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            close_delay: Duration::ZERO,
            per_address: None,
            duration: None,
            requests: None,
            request: None,
            control_frames: 1000,
        }
    }
}

impl Limits {
    /// # Errors
    /// Field, reason and remedy.
    pub(super) fn compile(spec: &ClientTraffic) -> Result<Self, String> {
        let default = Self::default();
        let limit = spec.connection.as_ref().and_then(|connection| connection.connection_limit.clone());
        let limit = limit.unwrap_or_default();
        let limits = spec.limits.clone().unwrap_or_default();
        let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        if limit.value == Some(0) {
            return Err("connection.connectionLimit.value: 0 serves nobody: write 1 or more".to_owned());
        }
        if limit.max_requests_per_connection == Some(0) {
            return Err(
                "connection.connectionLimit.maxRequestsPerConnection: write 1 or more, or leave it out"
                    .to_owned(),
            );
        }
        if limits.http2_control_frames.is_some_and(|frames| !(10..=1_000_000).contains(&frames)) {
            return Err("limits.http2ControlFrames: write 10 to 1000000".to_owned());
        }
        Ok(Self {
            connections: limit.value.map_or(default.connections, size),
            close_delay: limit.close_delay.map_or(default.close_delay, |delay| delay.0),
            per_address: limits.connections_per_address.map(size),
            duration: for_ever(limit.max_connection_duration, None),
            requests: limit.max_requests_per_connection,
            request: for_ever(limit.max_stream_duration, None),
            control_frames: limits.http2_control_frames.unwrap_or(default.control_frames),
        })
    }
}

/// What request bodies are held to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BodyRules {
    /// Most bytes.
    pub(crate) most: Option<u64>,
    /// Least bytes per second.
    pub(crate) rate: Option<u64>,
}

impl Default for BodyRules {
    fn default() -> Self {
        Self { most: None, rate: Some(100) }
    }
}

impl BodyRules {
    pub(super) fn compile(limits: Option<&client_traffic::Limits>) -> Self {
        let default = Self::default();
        let Some(limits) = limits else { return default };
        Self {
            most: limits.request_body_bytes.map(|size| size.0),
            rate: limits.request_body_rate.map_or(default.rate, |size| Some(size.0).filter(|rate| *rate > 0)),
        }
    }
}
