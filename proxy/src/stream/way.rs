//! Which backend a connection or flow goes to.

use std::sync::Arc;

use super::StreamTable;
use crate::rule::{Action, StreamRule};
use crate::upstream::Cluster;

/// A rule and the backend it picked.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) rule: Arc<StreamRule>,
    pub(crate) cluster: Arc<Cluster>,
}

/// Why there is none: the rule, if one was found, and the reason.
#[derive(Debug)]
pub(crate) struct NoWay {
    pub(crate) rule: Option<Arc<StreamRule>>,
    pub(crate) reason: &'static str,
}

impl Way {
    /// The way for a name; each call is one of those that weights are about.
    ///
    /// # Errors
    /// What the route says instead of a backend.
    pub(crate) fn find(table: &StreamTable, sni: Option<&str>) -> Result<Self, NoWay> {
        let rule = table.find(sni).ok_or(NoWay { rule: None, reason: "route_not_found" })?;
        let no_way = |reason| NoWay { rule: Some(rule.clone()), reason };
        let Action::Forward(split) = &rule.action else { return Err(no_way("rule_invalid")) };
        let share = split.pick().ok_or_else(|| no_way("no_backend"))?;
        let cluster = share.target.as_ref().map_err(|_| no_way("invalid_backend"))?;
        Ok(Self { rule: rule.clone(), cluster: cluster.clone() })
    }
}
