//! `parametersRef`: the FairwayProxy that a Gateway or GatewayClass names.

use config::identity::Role;

use super::gateway_class;
use crate::api::{FairwayProxy, Gateway, GatewayClass};
use crate::fairway_proxy::FairwayProxySpec;
use crate::resources::{Named, ObjectKind, Objects, Resources};
use crate::status::{Problem, reason};

/// Group of our own kinds.
const GROUP: &str = "fairway.dev";

/// A reference, and the field it stands in.
struct Reference<'a> {
    place: &'a str,
    group: &'a str,
    kind: &'a str,
    namespace: Option<&'a str>,
    name: &'a str,
}

impl Reference<'_> {
    /// Where one process serves all Gateways there is nothing to set: then none is needed.
    fn find<'r>(
        &self,
        proxies: &'r Objects<FairwayProxy>,
        is_needed: bool,
    ) -> Result<Option<&'r FairwayProxy>, Problem> {
        let Self { place, group, kind, namespace, name } = self;
        let invalid = |message| Err(Problem::accepted(reason::INVALID_PARAMETERS, message));
        if *group != GROUP || *kind != ObjectKind::FairwayProxy.as_str() {
            return invalid(format!(
                "{place}: kind {kind} of group {group:?} is not supported: refer to a FairwayProxy of group {GROUP:?}"
            ));
        }
        let Some(namespace) = namespace else {
            return invalid(format!("{place}.namespace: it is needed: a FairwayProxy is in a namespace"));
        };
        match proxies.get(namespace, name) {
            Some(proxy) => Ok(Some(proxy)),
            None if !is_needed => Ok(None),
            None => invalid(format!("{place}: FairwayProxy {namespace}/{name} does not exist")),
        }
    }
}

/// What a GatewayClass refers to.
pub(crate) fn of_class<'r>(
    class: &GatewayClass,
    proxies: &'r Objects<FairwayProxy>,
    is_needed: bool,
) -> Option<Result<&'r FairwayProxy, Problem>> {
    let parameters = class.spec.parameters_ref.as_ref()?;
    let reference = Reference {
        place: "parametersRef",
        group: &parameters.group,
        kind: &parameters.kind,
        namespace: parameters.namespace.as_deref(),
        name: &parameters.name,
    };
    reference.find(proxies, is_needed).transpose()
}

/// What a Gateway refers to, in its own namespace.
pub(crate) fn of_gateway<'r>(
    gateway: &Gateway,
    proxies: &'r Objects<FairwayProxy>,
    is_needed: bool,
) -> Option<Result<&'r FairwayProxy, Problem>> {
    let parameters = gateway.spec.infrastructure.as_ref()?.parameters_ref.as_ref()?;
    let reference = Reference {
        place: "infrastructure.parametersRef",
        group: &parameters.group,
        kind: &parameters.kind,
        namespace: Some(gateway.namespace()),
        name: &parameters.name,
    };
    reference.find(proxies, is_needed).transpose()
}

/// How the proxies of a Gateway run: what it says over what its class says. `None` when it is not ours to run, or
/// something it refers to is missing: then what runs is left as it is.
pub(crate) fn effective(gateway: &Gateway, resources: &Resources) -> Option<FairwayProxySpec> {
    let class = class(gateway, resources)?;
    let spec = |found: Option<Result<&FairwayProxy, Problem>>| match found {
        None => Some(FairwayProxySpec::default()),
        Some(found) => found.ok().map(|proxy| proxy.spec.clone()),
    };
    let below = spec(of_class(class, &resources.fairway_proxies, true))?;
    let above = spec(of_gateway(gateway, &resources.fairway_proxies, true))?;
    Some(above.over(&below))
}

/// Whether proxies of a Gateway are ours to run.
pub(crate) fn is_served(gateway: &Gateway, resources: &Resources) -> bool {
    class(gateway, resources).is_some()
}

/// The class of a Gateway, if it is ours.
fn class<'r>(gateway: &Gateway, resources: &'r Resources) -> Option<&'r GatewayClass> {
    let class = resources.gateway_classes.get("", &gateway.spec.gateway_class_name)?;
    gateway_class::is_ours(class).then_some(class)
}

/// What the proxies of a Gateway do.
pub(crate) fn role(gateway: &Gateway) -> Role {
    if gateway.spec.gateway_class_name == WAYPOINT_CLASS { Role::Waypoint } else { Role::Gateway }
}

/// Gateways of this class are waypoints.
pub(crate) const WAYPOINT_CLASS: &str = "fairway-waypoint";
