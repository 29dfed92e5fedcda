//! A rate limit service (`envoy.service.ratelimit.v3`): asked for each request, it counts in fixed windows and says yes or no.
//! What Envoy and others ask of `envoyproxy/ratelimit`, with that project's configuration files.
//!
//! ```text
//! files ── file ──► Limits ── find(domain, descriptor) ──► Rule ─┐
//! request ── decide ─────────────────────────────────────────────┴─► Case ──► Store ──► response
//! ```
//!
//! No clock and no socket: `now` is seconds since 1970, because windows begin at full units, as they do there.

mod counters;
mod decide;
mod file;
mod limits;
mod serve;
mod store;

pub use counters::Counters;
pub use decide::{Asked, Case, Hit, decide};
pub use file::{BadFile, File};
pub use limits::{Limits, Rule};
pub use policies::rate_limit::Unit;
pub use policies::rls as proto;
pub use serve::Service;
pub use store::{Shared, Store};

#[cfg(test)]
mod tests;
