//! The whole engine on loopback: real sockets, real clients and origins, an in-process source.

mod harness;
mod http1;
mod http2;
mod listeners;
mod tls;
