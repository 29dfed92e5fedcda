//! Which kinds of routes a listener takes.

use config::Protocol;
use gateway_api::experimental::gateways::GatewayListenersAllowedRoutes;

use super::reference_grant::GATEWAY_GROUP;
use crate::resources::ObjectKind;
use crate::status::{Problem, RouteGroupKind, reason};

/// Kinds of routes, in the order they are listed.
const ALL: [ObjectKind; 5] = [
    ObjectKind::HttpRoute,
    ObjectKind::GrpcRoute,
    ObjectKind::TlsRoute,
    ObjectKind::TcpRoute,
    ObjectKind::UdpRoute,
];

/// A set of kinds of routes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Kinds([bool; ALL.len()]);

impl Kinds {
    fn only(kinds: &[ObjectKind]) -> Self {
        Self(ALL.map(|kind| kinds.contains(&kind)))
    }

    /// What a listener of a protocol can serve. What passes through is known by its ClientHello only: Gateway API:
    /// "passthrough is only supported by TLSRoute".
    pub(crate) fn of(protocol: Protocol, is_passthrough: bool) -> Self {
        Self::only(match protocol {
            Protocol::Http | Protocol::Https => &[ObjectKind::HttpRoute, ObjectKind::GrpcRoute],
            Protocol::Tls if is_passthrough => &[ObjectKind::TlsRoute],
            Protocol::Tls => &[ObjectKind::TlsRoute, ObjectKind::TcpRoute],
            Protocol::Tcp => &[ObjectKind::TcpRoute],
            Protocol::Udp => &[ObjectKind::UdpRoute],
        })
    }

    /// Those of this set that a listener lists; all if it lists none.
    pub(crate) fn listed(self, allowed: &GatewayListenersAllowedRoutes, problems: &mut Vec<Problem>) -> Self {
        let Some(listed) = allowed.kinds.as_ref().filter(|kinds| !kinds.is_empty()) else { return self };
        let mut kinds = Vec::new();
        for (index, listed) in listed.iter().enumerate() {
            let group = listed.group.as_deref().unwrap_or(GATEWAY_GROUP);
            match self.iter().find(|kind| group == GATEWAY_GROUP && listed.kind == kind.as_str()) {
                Some(kind) => kinds.push(kind),
                None => {
                    let usable: Vec<_> = self.iter().map(ObjectKind::as_str).collect();
                    let message = format!(
                        "allowedRoutes.kinds[{index}]: kind {} of group {group:?} is not supported here: use {}",
                        listed.kind,
                        usable.join(" or ")
                    );
                    problems.push(Problem::unresolved(reason::INVALID_ROUTE_KINDS, message));
                }
            }
        }
        Self::only(&kinds)
    }

    pub(crate) fn allow(self, kind: ObjectKind) -> bool {
        self.iter().any(|allowed| allowed == kind)
    }

    pub(crate) fn list(self) -> Vec<RouteGroupKind> {
        self.iter().map(|kind| RouteGroupKind { group: GATEWAY_GROUP, kind: kind.as_str() }).collect()
    }

    fn iter(self) -> impl Iterator<Item = ObjectKind> {
        ALL.into_iter().zip(self.0).filter(|(_, is_in)| *is_in).map(|(kind, _)| kind)
    }
}
