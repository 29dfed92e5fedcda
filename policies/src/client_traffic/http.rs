//! How requests are read.

use super::{ByteSize, Deserialize, JsonSchema, Problems, Serialize, group};
use crate::Duration;

group! {
    /// How paths are read. Dot segments are always resolved and needless escapes decoded.
    Path {
        /// `%2F` and `%5C`. Default: RejectRequest.
        escaped_slashes_action: EscapedSlashes,
        /// `//` stays as it is. Default: false: it becomes `/`.
        disable_merge_slashes: bool,
    }
}

/// What is done with `%2F` and `%5C`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum EscapedSlashes {
    /// They stay: backends may read them as slashes, policies do not.
    KeepUnchanged,
    /// 400.
    RejectRequest,
    /// They become `/`.
    UnescapeAndForward,
    /// 307 to the path with `/`.
    UnescapeAndRedirect,
}

group! {
    /// HTTP/2.
    Http2 {
        /// Window of a stream. 64Ki-1 to 2Gi-1. Default: 256Ki.
        initial_stream_window_size: ByteSize,
        /// Window of a connection. 64Ki-1 to 2Gi-1. Default: 1Mi.
        initial_connection_window_size: ByteSize,
        /// Most requests of a connection at once. Default: 100.
        #[schemars(range(min = 1, max = 100_000))]
        max_concurrent_streams: u32,
        /// What ends when a message is malformed. Default: TerminateStream. TerminateConnection is not supported: refused.
        on_invalid_message: InvalidMessage,
        /// PINGs of ours.
        connection_keepalive: Keepalive,
    }
}

/// What ends when a message is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum InvalidMessage {
    /// The request.
    TerminateStream,
    /// The connection.
    TerminateConnection,
}

group! {
    /// PINGs on connections of HTTP/2.
    Keepalive {
        /// Between two. 1s or more. Default: none are sent.
        interval: Duration,
        /// How long an answer may take before the connection is closed. Default: 20s.
        timeout: Duration,
    }
}

/// A path the proxy answers itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HealthCheck {
    /// GET and HEAD of exactly this path get 200 while the proxy is ready, 503 once it drains; no route sees them.
    #[schemars(length(min = 1, max = 1024))]
    pub path: String,
}

impl Http2 {
    pub(super) fn check(&self, problems: &mut Problems) {
        // RFC 9113 section 6.5.2 and 6.9.1.
        let (range, words) = (65_535..=(2_u64 << 30) - 1, "65535 and 2147483647");
        let stream = self.initial_stream_window_size;
        problems.bytes("http2.initialStreamWindowSize", stream, range.clone(), words);
        let connection = self.initial_connection_window_size;
        problems.bytes("http2.initialConnectionWindowSize", connection, range, words);
        problems.number("http2.maxConcurrentStreams", self.max_concurrent_streams, 1..=100_000);
        if let Some(keepalive) = &self.connection_keepalive {
            let (interval, timeout) = (keepalive.interval, keepalive.timeout);
            problems.positive("http2.connectionKeepalive.interval", interval, "leave it out for no PINGs");
            problems.positive("http2.connectionKeepalive.timeout", timeout, "no answer could come in time");
        }
    }
}

impl HealthCheck {
    pub(super) fn check(&self, problems: &mut Problems) {
        // Requests are compared after their path was brought to its one form.
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte);
        let rest = self.path.strip_prefix('/');
        let mut segments = rest.unwrap_or_default().split('/').rev();
        // A slash at the end is fine.
        let last = segments.next().unwrap_or_default();
        let is_normal =
            !matches!(last, "." | "..") && segments.all(|segment| !matches!(segment, "" | "." | ".."));
        if rest.is_none() || !is_normal || !self.path.bytes().all(is_plain) || self.path.len() > 1024 {
            let message =
                "is no plain absolute path: write one such as /healthz, without //, dot segments, % and ?";
            problems.add("healthCheck.path", format!("{:?} {message}", self.path));
        }
    }
}
