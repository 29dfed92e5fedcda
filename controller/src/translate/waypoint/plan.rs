//! What is to be done about a Service in the cluster, for those who do it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ports::Port;
use crate::ObjectKey;

/// By Service.
pub(crate) type Plans = BTreeMap<ObjectKey, Arc<Plan>>;

/// How a Service is captured, or released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Namespace and name of the waypoint's Gateway.
    pub(crate) waypoint: (Box<str>, Box<str>),
    /// Clients shall reach it through the waypoint; else it is let go.
    pub(crate) is_wanted: bool,
    pub(crate) ports: Vec<Port>,
    pub(crate) failure_mode: FailureMode,
    /// Only those may reach its pods who enforce what is attached to it.
    pub(crate) is_locked: bool,
}

/// What becomes of a captured Service without a usable waypoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureMode {
    /// Clients reach its pods: nothing is enforced.
    Open,
    /// Nobody reaches it.
    Closed,
}

impl FailureMode {
    /// As labels say it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}
