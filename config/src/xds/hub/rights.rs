//! Who may have shares of limits: whoever sees the policy. And who may tell of a backend: whoever sees that.

use std::sync::Arc;

use super::Hub;
use crate::identity::GatewayRef;
use crate::load::Sight;
use crate::quota::{Id, Limited, Rights};
use crate::{BackendRef, Key};

impl Rights for Hub {
    fn limited(&self, place: &GatewayRef, id: &Id) -> Option<Limited> {
        let state = self.0.state.lock();
        let entry = state.limits.get(id)?;
        state.scopes.sees(place, &entry.policy).then_some(entry.limited)
    }

    fn limits(&self, place: &GatewayRef) -> Vec<Arc<str>> {
        let state = self.0.state.lock();
        let seen = state.limits.iter().filter(|(_, entry)| state.scopes.sees(place, &entry.policy));
        seen.map(|(name, _)| Arc::clone(name)).collect()
    }

    fn version(&self) -> u64 {
        self.0.state.lock().changed
    }
}

impl Sight for Hub {
    fn sees(&self, place: &GatewayRef, backend: &BackendRef) -> bool {
        self.0.state.lock().scopes.sees(place, &Key::backend(backend))
    }

    fn version(&self) -> u64 {
        self.0.state.lock().changed
    }
}
