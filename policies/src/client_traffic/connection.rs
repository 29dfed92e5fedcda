//! How many connections, how long they last, and what one client may take.

use super::{ByteSize, Problems, group};
use crate::Duration;

group! {
    /// Connections of a port. Listeners that share one share these.
    Connection {
        /// How many, and how long.
        connection_limit: ConnectionLimit,
        /// Most bytes of one connection that wait in the proxy in each direction. Not supported: refused. What waits is bounded
        /// without it, by buffers of 64Ki and HTTP/2's windows.
        buffer_limit: ByteSize,
        /// Receive and send buffers of the socket (`SO_RCVBUF`, `SO_SNDBUF`). 1Ki to 1Gi. Default: the kernel's.
        socket_buffer_limit: ByteSize,
    }
}

group! {
    /// How many connections, and how long.
    ConnectionLimit {
        /// Most connections open at once in each proxy. What is more is closed. Default: 10000.
        #[schemars(range(min = 1))]
        value: u32,
        /// How long what is more stays open before it is closed, so that clients do not come again at once. Default: 0s.
        close_delay: Duration,
        /// After this a connection takes no more requests; those under way end. Default: no limit.
        max_connection_duration: Duration,
        /// After so many requests a connection takes no more. Default: no limit.
        #[schemars(range(min = 1))]
        max_requests_per_connection: u32,
        /// Longest a request may last in all, its response included. 504 or a reset when over. Default: no limit.
        max_stream_duration: Duration,
    }
}

group! {
    /// What one client may take.
    Limits {
        /// Most connections of one address (IPv6: of one /64) open at once in each proxy, over all its ports. Default: 1000;
        /// no limit for waypoints, whose clients speak for many. 0: no limit.
        connections_per_address: u32,
        /// Most bytes of a request head. 431 when over, 414 for the target. 1Ki to 1Mi. Default: 60Ki (HTTP/2: 64Ki).
        request_headers_bytes: ByteSize,
        /// Most fields of a request head. 431 when over. Default: 100.
        #[schemars(range(min = 1, max = 250))]
        request_headers_count: u32,
        /// Most bytes of a request body. 413 when over. Default: no limit.
        request_body_bytes: ByteSize,
        /// Least bytes per second of a request body, on average after its first 10 seconds, while it is waited for; of HTTP/2
        /// for the first 64Ki, of gRPC and WebSockets never. 408 or a reset when under. Default: 100. 0: no limit.
        request_body_rate: ByteSize,
        /// Most frames of HTTP/2 in 10 seconds that carry nothing (PING, SETTINGS, PRIORITY, WINDOW_UPDATE beyond what answers
        /// ours). GOAWAY when over. Default: 1000.
        #[schemars(range(min = 10, max = 1_000_000))]
        http2_control_frames: u32,
    }
}

group! {
    /// PROXY protocol, version 1 or 2, before anything else of a connection; it says who the client is.
    ProxyProtocol {
        /// Connections without it are served, too. Only where no client can reach the port itself. Default: false.
        optional: bool,
    }
}

group! {
    /// Probes of silent connections (`SO_KEEPALIVE`).
    TcpKeepalive {
        /// How many go unanswered before the connection is closed. Default: the kernel's, 9.
        #[schemars(range(min = 1, max = 127))]
        probes: u32,
        /// How long a connection is silent before the first. Whole seconds, at most 32767. Default: the kernel's, 2h.
        idle_time: Duration,
        /// Between two. Whole seconds, at most 32767. Default: the kernel's, 75s.
        interval: Duration,
    }
}

impl Connection {
    pub(super) fn check(&self, problems: &mut Problems) {
        if let Some(limit) = &self.connection_limit {
            let at = |field: &str| format!("connection.connectionLimit.{field}");
            let remedy = "leave it out for no limit";
            problems.number(&at("value"), limit.value, 1..=u32::MAX);
            problems.positive(&at("maxConnectionDuration"), limit.max_connection_duration, remedy);
            problems.number(&at("maxRequestsPerConnection"), limit.max_requests_per_connection, 1..=u32::MAX);
            problems.positive(&at("maxStreamDuration"), limit.max_stream_duration, remedy);
        }
        problems.bytes("connection.bufferLimit", self.buffer_limit, 8 << 10..=16 << 20, "8Ki and 16Mi");
        let socket = self.socket_buffer_limit;
        problems.bytes("connection.socketBufferLimit", socket, 1 << 10..=1 << 30, "1Ki and 1Gi");
    }
}

impl Limits {
    pub(super) fn check(&self, problems: &mut Problems) {
        let head = self.request_headers_bytes;
        problems.bytes("limits.requestHeadersBytes", head, 1 << 10..=1 << 20, "1Ki and 1Mi");
        problems.number("limits.requestHeadersCount", self.request_headers_count, 1..=250);
        problems.number("limits.http2ControlFrames", self.http2_control_frames, 10..=1_000_000);
    }
}

impl TcpKeepalive {
    pub(super) fn check(&self, problems: &mut Problems) {
        problems.number("tcpKeepalive.probes", self.probes, 1..=127);
        for (field, duration) in [("idleTime", self.idle_time), ("interval", self.interval)] {
            let Some(duration) = duration else { continue };
            // What Linux takes.
            let is_good = duration.0.subsec_nanos() == 0 && (1..=32_767).contains(&duration.0.as_secs());
            if !is_good {
                let message = format!("{duration} is not whole seconds from 1s to 32767s");
                problems.add(format!("tcpKeepalive.{field}"), message);
            }
        }
    }
}
