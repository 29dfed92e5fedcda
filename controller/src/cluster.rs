//! The controller's life in Kubernetes.
//!
//! # Who does what
//!
//! | part | replicas | in → out |
//! |---|---|---|
//! | `watch`, `references` | all | the API server → `state` |
//! | `control` | all | state → translation → `config::xds::Hub` and a `control::View` |
//! | `config::xds::Server` with `identity` | all; closed while another leads | hub → proxies, and their answers back |
//! | `provision` | leader | view → what runs for each Gateway |
//! | `grants` | leader | referred-to namespaces → the right to read Secrets there |
//! | `status` | leader | view, answers and refusals → status and Events |
//! | `capture` | leader | view, answers → labels of Services, EndpointSlices that lead to waypoints; waypoints made for labels |
//! | `rollouts` | leader | view and what proxies tell of backends → how far each Rollout is, in its status; Events |
//! | `mesh` | leader | what waypoints can do → an XMesh |
//! | `leader` | all | who that is |
//!
//! Parts share nothing but `watch` channels and the state; each is a task that ends when the process does.

mod admin;
mod capture;
mod control;
#[cfg(test)]
mod cost;
mod grants;
mod identity;
mod leader;
mod mesh;
mod metrics;
mod provision;
mod references;
mod rollouts;
mod run;
mod state;
mod status;
mod tell;
mod watch;
mod watched;
pub(crate) mod write;

pub(crate) use capture::FINALIZER;
pub(crate) use grants::ROLE as REFERENCED_ROLE;
pub(crate) use identity::SECRET as AUTHORITY_SECRET;
pub use run::{Error, Settings, run};
pub(crate) use watch::{BUNDLE_VERSION, KINDS as WATCHED};

/// Random bits, to keep replicas apart. Not for secrets.
fn random_bits() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    // Seeded by the system, and differently for each value.
    RandomState::new().hash_one(0_u8)
}

/// A random number from 0 to 1.
fn random_unit() -> f64 {
    f64::from(u32::try_from(random_bits() >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}
