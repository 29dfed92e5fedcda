//! One module per subcommand. `Ok(false)` is exit code 1, an error is 2.

pub(crate) mod check;
pub(crate) mod controller;
pub(crate) mod demo;
pub(crate) mod explain;
pub(crate) mod install;
pub(crate) mod limits;
mod redis;
pub(crate) mod rls;
pub(crate) mod standalone;
pub(crate) mod status;
pub(crate) mod trace;
pub(crate) mod translate;
pub(crate) mod validate;
pub(crate) mod waypoint;
