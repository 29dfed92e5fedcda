//! What proxies have in common that see the same.

use super::{GatewayRef, Role};

/// Those who see the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// Proxies of one Gateway.
    Gateway {
        /// Of the Gateway.
        namespace: String,
        /// Of the Gateway.
        name: String,
    },
    /// Waypoints of one namespace.
    Waypoint {
        /// Which.
        namespace: String,
    },
}

impl From<&GatewayRef> for Place {
    fn from(gateway: &GatewayRef) -> Self {
        let namespace = gateway.namespace.clone();
        match gateway.role {
            Role::Gateway => Self::Gateway { namespace, name: gateway.name.clone() },
            Role::Waypoint => Self::Waypoint { namespace },
        }
    }
}
