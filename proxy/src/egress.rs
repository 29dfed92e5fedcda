//! Connections to backends that speak HTTP/1: ours, below Pingora's session.
//!
//! Pingora reads answers leniently: a bare LF ends a line, an empty chunk size is 0, and a Content-Length beside a
//! Transfer-Encoding is taken off before anybody sees it. So the bytes are looked at before, as those of clients are
//! ([`crate::ingress::wire`]). It also keeps 64 KiB to read into for each connection, which these do not have, and it
//! cannot check all names a BackendTLSPolicy may ask for: here one handshake does.
//!
//! Pooling and the HTTP/1 session stay Pingora's. A peer whose ALPN is [`http1`] is connected by [`Connector`].

mod connector;
mod frame;
pub(crate) mod reply;
mod stream;

use pingora_core::protocols::ALPN;
use pingora_core::protocols::tls::CustomALPN;

pub(crate) use self::connector::{Connector, Secure, told};
pub(crate) use self::frame::{Frame, frame};
pub(crate) use self::reply::is_bad;

/// Marks peers that [`Connector`] connects. Backends never see it: they are offered `http/1.1`.
pub(crate) fn http1() -> ALPN {
    ALPN::Custom(CustomALPN::new(b"fairway".to_vec()))
}
