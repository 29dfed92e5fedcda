//! Gateway and waypoint in one process, fed from files.
//!
//! ```text
//! files ─► Loader ─► + demo pods, certificates ─► Translator ─► Splitter ─► gateway, waypoint ─► answers ─► statuses
//! ```
//!
//! Three runtimes: requests, demo pods, and this one thread for everything else, so that no translation ever waits for
//! a request nor a request for a translation.

mod control;
mod demo;
mod quota;
mod report;
mod rollouts;
mod show;
mod split;
mod watch;

pub(crate) use control::{Control, Live, Roles};
pub(crate) use demo::Pods;
pub(crate) use quota::Quotas;
pub(crate) use rollouts::Rollouts;
pub(crate) use watch::Watch;
