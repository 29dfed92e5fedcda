//! How bytes become requests: connections, their TLS, and the loops that read one request after another.
//!
//! Pingora's own server is not used: its listeners cannot change after the start, its streams keep 64 KiB of buffer
//! while idle, and its limits count per read. Here an idle HTTP/1 connection is a socket, a small task and
//! [`Connection`]; Pingora's session exists only while a request is read and answered.

pub(crate) mod admission;
pub(crate) mod connection;
pub(crate) mod exchange;
mod farewell;
pub(crate) mod gate;
pub(crate) mod http1;
pub(crate) mod http2;
pub(crate) mod over;
pub(crate) mod pace;
pub(crate) mod preface;
pub(crate) mod proxy_protocol;
mod refused;
pub(crate) mod serve;
pub(crate) mod stream;
pub(crate) mod timer;
pub(crate) mod tls;
mod turn;
mod watch;
pub(crate) mod wire;

use std::time::Duration;

/// How long a connection that drains waits for one more request, whose answer says `connection: close`. A client that
/// sends in the moment in which its connection is closed loses the request, so only those are closed that would not have
/// sent for long: the longer the wait, the fewer are lost, and the later the process ends.
pub(crate) const LULL: Duration = Duration::from_secs(5);
