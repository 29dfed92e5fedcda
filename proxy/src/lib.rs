//! The Fairway data plane engine: listeners, TLS, routing table, policy chain, clusters, telemetry, drain.
//!
//! It is the only room that knows Pingora, and it knows neither Kubernetes nor which role it plays.
//!
//! # A request
//!
//! | # | where | in → out |
//! |---|---|---|
//! | 1 | `ingress` | socket → `Connection {listener, peer, sni}` |
//! | 2 | `engine::Engine` | → [`snapshot::Reader::load`] once, pinned in the request context; host → listener; head checks by its rules |
//! | 3 | [`route::RouteTable::find`] | head → [`rule::Rule`] or 404 |
//! | 4 | `policies::Chain::request` | head → changed head, or a reply |
//! | 5 | [`rule::Action`], [`split::Split::pick`], [`upstream::Cluster::pick`] | → endpoint |
//! | 6 | attempts | deadline, connect failure → another endpoint, retry plan |
//! | 7 | `policies::Chain::response` | reverse order, for replies too |
//! | 8 | [`telemetry`] | access log line, metrics, span |
//!
//! # A change
//!
//! `config::source::Source` → [`compile::Compiler::apply`] (pure; shares every clean `Arc`) →
//! [`snapshot::Writer::publish`] → listeners open before, drain after → answer.

pub mod admin;
pub mod attempt;
pub mod call;
pub mod compile;
mod context;
mod datagram;
mod egress;
mod engine;
#[doc(hidden)]
pub mod fuzzing;
mod ingress;
mod keys;
mod limits;
mod listeners;
mod offload;
mod overload;
pub mod process;
mod reply;
pub mod route;
pub mod rule;
mod run;
pub mod snapshot;
pub mod split;
pub mod store;
pub mod stream;
pub mod telemetry;
pub mod tls;
mod traffic;
mod untold;
pub mod upstream;
mod workers;
mod workloads;

pub use run::{Options, Proxy};
pub use workers::Workers;
