//! What is said of every object, and of which objects something else is said than before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use config::xds::ProxyState;
use tokio::time::Instant;

use super::assemble::{Assembled, Assembler, Told};
use crate::cluster::control::View;

use crate::status::{ConditionStatus, Status, condition_type, reason};
use crate::{ObjectKey, ObjectKind};

/// See the module.
#[derive(Default)]
pub(crate) struct Said {
    assembler: Assembler,
    pub(super) now: Assembled,
}

impl Said {
    /// We lead from now on, and nothing is said yet.
    pub(super) fn begin(&mut self, now: Instant) {
        self.assembler.begin(now);
        self.now = Assembled::default();
    }

    /// Says what follows from a view and its answers. `foreign`: versions of CRDs that are not ours. Returns the objects of
    /// which something else is said now. Costs what changed, and a look at every Gateway.
    pub(crate) fn follow(
        &mut self,
        view: &View,
        proxies: &[ProxyState],
        told: &Told,
        foreign: &[String],
        now: Instant,
    ) -> BTreeSet<ObjectKey> {
        let mut new = self.assembler.assemble(view, proxies, told, now);
        if !foreign.is_empty() {
            judge_versions(&mut new, foreign);
        }
        let changes = self.now.statuses.0.changes(&new.statuses.0);
        let mut keys: BTreeSet<ObjectKey> =
            changes.filter(|(_, old, new)| old != new).map(|(key, ..)| key.clone()).collect();
        keys.extend(self.now.held.symmetric_difference(&new.held).cloned());
        self.now = new;
        keys
    }
}

/// CRDs of another version than ours may have fields that we would ignore.
fn judge_versions(said: &mut Assembled, foreign: &[String]) {
    let classes: BTreeMap<ObjectKey, Arc<Status>> = said
        .statuses
        .of_kind(ObjectKind::GatewayClass)
        .map(|(key, status)| (key.clone(), Arc::clone(status)))
        .collect();
    for (key, mut status) in classes {
        if let Status::GatewayClass(class) = Arc::make_mut(&mut status)
            && let Some(condition) =
                class.conditions.iter_mut().find(|c| c.r#type == condition_type::SUPPORTED_VERSION)
        {
            condition.status = ConditionStatus::False;
            condition.reason = reason::UNSUPPORTED_VERSION;
            let message = format!(
                "CRDs of Gateway API {} are installed; this release knows v1.6 and serves what both know.",
                foreign.join(", ")
            );
            condition.message = message.into();
        }
        said.statuses.0.insert(key, status);
    }
}
