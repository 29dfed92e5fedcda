//! How requests are read.

use super::{ByteSize, Deserialize, JsonSchema, Serialize, group};
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
