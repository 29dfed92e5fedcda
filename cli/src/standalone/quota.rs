//! The quota server of the process: gateway and waypoint hold global limits together, as in a cluster.

use std::sync::Arc;

use config::Update;
use config::identity::{GatewayRef, ProxyId, Role};
use config::quota::{self, Everybody, Here, Way};

/// See the module. It ends with the runtime.
pub(crate) struct Quotas {
    pub(crate) server: quota::Quotas,
    limits: Arc<Everybody>,
}

impl Quotas {
    /// Starts it on the current runtime.
    pub(crate) fn start() -> Self {
        let limits = Arc::new(Everybody::default());
        // Nobody can have a share from before: there was no process.
        let server = quota::Quotas::new(limits.clone(), false);
        server.lead(true);
        tokio::spawn(server.clone().run());
        Self { server, limits }
    }

    /// The limits are those of a configuration that changed so.
    pub(crate) fn apply(&self, update: &Update) {
        self.limits.apply(update);
    }

    /// The way of a proxy of that role.
    pub(crate) fn way(&self, role: &str) -> Arc<dyn Way> {
        let kind = if role == Role::Waypoint.as_str() { Role::Waypoint } else { Role::Gateway };
        let proxy = ProxyId { gateway: GatewayRef::new(kind, "standalone", role), pod: role.to_owned() };
        Arc::new(Here { quotas: self.server.clone(), proxy })
    }
}
