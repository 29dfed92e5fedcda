//! The whole engine on loopback: real sockets, real clients and origins, an in-process source.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod backends;
mod certs;
mod change;
mod client_traffic;
mod clients;
mod credentials;
mod datagrams;
mod denials;
mod exact_limits;
mod ext_auth;
mod grpc;
mod harness;
mod http1;
mod http2;
mod identity;
mod listeners;
mod mirror;
mod opa;
mod rate_limit;
mod replies;
mod retries;
mod sessions;
mod streams;
mod timeouts;
mod tls;
mod tls_streams;
mod traffic;
mod websocket;
mod workloads;
