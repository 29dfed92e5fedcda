//! The operator's side: what a cluster says of Fairway, as findings ([`check()`]) and as tables ([`overview()`]).
//!
//! | # | where | in → out |
//! |---|---|---|
//! | 1 | [`Access`] | the API server → [`Cluster`]: objects as JSON, and what could not be read |
//! | 2 | [`check()`] | → [`Report`]: sections of lines, each with a remedy. Pure |
//! | 3 | [`overview()`] | → [`Overview`]: rows. Pure |
//!
//! Objects stay JSON: a status is read as it stands, whoever wrote it, and kinds that come with a later release of
//! Gateway API are listed like those of now, because the CRDs say which there are.

mod check;
mod cluster;
mod fetch;
mod overview;
mod report;
mod seen;
#[cfg(test)]
mod tests;

pub use check::{Stage, check};
pub use cluster::Cluster;
pub use fetch::{Access, AccessError};
pub use overview::{ControllerRow, GatewayRow, Overview, RouteRow, overview};
pub use report::{Level, Line, Report, Section};
