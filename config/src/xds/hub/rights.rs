//! Who may have shares of limits: whoever sees the policy.

use std::sync::Arc;

use super::Hub;
use crate::identity::Place;
use crate::quota::{Id, Limited, Rights};

impl Rights for Hub {
    fn limited(&self, place: &Place, id: &Id) -> Option<Limited> {
        let state = self.0.state.lock();
        let entry = state.limits.get(id)?;
        state.scopes.sees(place, &entry.policy).then_some(entry.limited)
    }

    fn limits(&self, place: &Place) -> Vec<Arc<str>> {
        let state = self.0.state.lock();
        let seen = state.limits.iter().filter(|(_, entry)| state.scopes.sees(place, &entry.policy));
        seen.map(|(name, _)| Arc::clone(name)).collect()
    }

    fn version(&self) -> u64 {
        self.0.state.lock().changed
    }
}
