//! The operator's side: what a cluster says of Fairway, as findings ([`check()`]) and as tables ([`overview()`]).
//!
//! | # | where | in → out |
//! |---|---|---|
//! | 1 | [`Access`] | the API server → [`Cluster`]: objects as JSON, and what could not be read |
//! | 2 | [`check()`] | → [`Report`]: sections of lines, each with a remedy. Pure |
//! | 3 | [`overview()`], [`mesh()`] | → [`Overview`], [`MeshRow`]s: rows. Pure |
//! | 4 | [`Access::label`] | labels → the API server, for `fairway waypoint`: the only thing that is ever written |
//!
//! Objects stay JSON: a status is read as it stands, whoever wrote it, and kinds that come with a later release of
//! Gateway API are listed like those of now, because the CRDs say which there are.

mod check;
mod cluster;
mod enroll;
mod fetch;
mod mesh;
mod overview;
mod report;
mod seen;
#[cfg(test)]
mod tests;
mod uninstall;

pub use check::{Stage, check};
pub use cluster::Cluster;
pub use enroll::{Enrolled, breaking_glass, enrolling, releasing};
pub use fetch::{Access, AccessError};
pub use mesh::{MeshRow, mesh};
pub use overview::{ControllerRow, GatewayRow, Overview, RouteRow, overview};
pub use report::{Level, Line, Report, Section};
pub use uninstall::Held;
