//! The controller's life in Kubernetes.
//!
//! # Who does what
//!
//! | part | replicas | in → out |
//! |---|---|---|
//! | [`watch`], [`references`] | all | the API server → [`state`] |
//! | [`control`] | all | state → translation → `config::xds::Hub` and a [`control::View`] |
//! | `config::xds::Server` with [`identity`] | all; closed while another leads | hub → proxies, and their answers back |
//! | [`provision`] | leader | view → what runs for each Gateway |
//! | [`grants`] | leader | referred-to namespaces → the right to read Secrets there |
//! | [`status`] | leader | view, answers and refusals → status and Events |
//! | [`leader`] | all | who that is |
//!
//! Parts share nothing but `watch` channels and the state; each is a task that ends when the process does.

mod admin;
mod control;
mod grants;
mod identity;
mod leader;
mod metrics;
mod provision;
mod references;
mod run;
mod state;
mod status;
mod watch;
mod watched;
mod write;

pub(crate) use grants::ROLE as REFERENCED_ROLE;
pub(crate) use identity::SECRET as AUTHORITY_SECRET;
pub use run::{Error, Settings, run};
pub(crate) use watch::KINDS as WATCHED;

/// A random number from 0 to 1, to keep replicas apart. Not for secrets.
fn random_unit() -> f64 {
    use std::hash::{BuildHasher as _, RandomState};
    // Seeded by the system, and differently for each value.
    let bits = RandomState::new().hash_one(0_u8) >> 11;
    #[allow(clippy::cast_precision_loss, reason = "53 bits fit")]
    let unit = bits as f64 / (1_u64 << 53) as f64;
    unit
}
