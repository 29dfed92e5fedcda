//! GatewayClasses: which are ours, and what we say of them.

use std::sync::Arc;

use super::{Options, Output, PENDING, parameters};
use crate::api::GatewayClass;
use crate::features::SUPPORTED_FEATURES;
use crate::resources::{Named, ObjectKind, Resources};
use crate::status::{
    Condition, ConditionStatus, GatewayClassStatus, Problem, Status, condition_type, reason,
};
use crate::{CONTROLLER_NAME, ObjectKey};

/// Writes the status of every class that is ours.
pub(crate) fn translate(resources: &Resources, options: &Options, out: &mut Output) {
    for class in resources.gateway_classes.iter().filter(|class| is_ours(class)) {
        let generation = class.metadata.generation;
        let problem = parameters_problem(class, resources, options);
        let is_waypoint = class.name() == parameters::WAYPOINT_CLASS;
        let accepted = Condition::judge(
            condition_type::ACCEPTED,
            &problem,
            reason::ACCEPTED,
            if is_waypoint {
                "Gateways of this class are waypoints."
            } else {
                "Gateways of this class are served by Fairway."
            },
            generation,
        );
        let supported_version = Condition::new(
            condition_type::SUPPORTED_VERSION,
            ConditionStatus::True,
            reason::SUPPORTED_VERSION,
            "Gateway API v1.6 is supported.",
            generation,
        );
        let status = GatewayClassStatus {
            conditions: vec![accepted, supported_version],
            // What waypoints can do is said of the mesh.
            supported_features: if problem.is_none() && !is_waypoint { SUPPORTED_FEATURES } else { &[] },
        };
        let key = ObjectKey::new(ObjectKind::GatewayClass, "", class.name());
        out.statuses.push((key, Arc::new(Status::GatewayClass(status))));
    }
}

/// Whether we are the controller of a class.
pub(crate) fn is_ours(class: &GatewayClass) -> bool {
    class.spec.controller_name == CONTROLLER_NAME
}

/// Why Gateways of a class of ours cannot be served.
pub(crate) fn problem(class: &GatewayClass, resources: &Resources, options: &Options) -> Option<Problem> {
    parameters_problem(class, resources, options).map(|problem| {
        Problem::new(
            PENDING,
            reason::PENDING,
            format!("GatewayClass {} is not accepted: {}", class.name(), problem.message),
        )
    })
}

fn parameters_problem(class: &GatewayClass, resources: &Resources, options: &Options) -> Option<Problem> {
    let is_needed = !options.shared_host;
    parameters::of_class(class, &resources.fairway_proxies, is_needed)?.err()
}
