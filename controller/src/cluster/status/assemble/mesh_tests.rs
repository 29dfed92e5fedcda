//! What is said of captured Services, and of the waypoint they are captured for.

use serde_json::{Value, json};

use super::*;
use crate::{Options, Resources, Translator, api};

/// Two Services that want a waypoint.
fn view() -> View {
    let class = json!({ "metadata": { "name": "fairway-waypoint" }, "spec": { "controllerName": "fairway.dev/controller" } });
    let gateway = json!({
        "metadata": { "name": "waypoint", "namespace": "shop", "generation": 3 },
        "spec": { "gatewayClassName": "fairway-waypoint",
            "listeners": [{ "name": "mesh", "port": 15008, "protocol": "fairway.dev/CAPTURE" }] },
    });
    let service = |name: &str| -> api::Service {
        let service: Value = json!({
            "metadata": { "name": name, "namespace": "shop", "labels": { "fairway.dev/use-waypoint": "waypoint" } },
            "spec": { "clusterIP": "10.0.0.1", "selector": { "app": name }, "ports": [{ "port": 80 }] },
        });
        serde_json::from_value(service).unwrap()
    };
    let resources = Resources::collect([
        serde_json::from_value::<api::GatewayClass>(class).unwrap().into(),
        serde_json::from_value::<api::Gateway>(gateway).unwrap().into(),
        service("cart").into(),
        service("stock").into(),
    ]);
    let options = Options { is_cluster: true, ..Options::default() };
    let translation = Translator::new(options).translate(&resources);
    View { resources, translation, generation: Generation::new(0, 1) }
}

/// Status, reason and message of a condition while Services are where `phases` says.
fn said(
    kind: ObjectKind,
    name: &str,
    phases: &[(&str, Phase)],
) -> Option<(ConditionStatus, &'static str, String)> {
    let of = |name: &str| ObjectKey::new(ObjectKind::Service, "shop", name);
    let phases = phases.iter().map(|(name, phase)| (of(name), phase.clone())).collect();
    let told = Told { phases, ..Told::default() };
    let assembled = Assembler::default().assemble(&view(), &[], &told, Instant::now());
    let status = &*assembled.statuses.0[&ObjectKey::new(kind, "shop", name)];
    let (conditions, wanted) = if let Status::Gateway(gateway) = status {
        (gateway.conditions.clone(), condition_type::SERVICES_CAPTURED)
    } else {
        let Status::Service(service) = status else { panic!("{name}") };
        (service.conditions.clone(), condition_type::WAYPOINT_BOUND)
    };
    let condition = conditions.into_iter().find(|condition| condition.r#type == wanted)?;
    Some((condition.status, condition.reason, condition.message.to_string()))
}

fn captured(is_locked: bool) -> Phase {
    Phase::Captured { usable: 2, pods: 2, failure_mode: FailureMode::Closed, is_locked }
}

#[test]
fn a_waypoint_tells_which_services_are_missing() {
    let of = |phases: &[(&str, Phase)]| said(ObjectKind::Gateway, "waypoint", phases).unwrap();
    let pending = Phase::Pending(reason::PENDING, "Waiting.".to_owned());
    let (status, reason, message) = of(&[("cart", captured(false)), ("stock", pending)]);
    assert_eq!((status, reason), (ConditionStatus::False, reason::PENDING));
    assert_eq!(message, "Of 2 Services 1 are captured; see the conditions of shop/stock.");
    let (status, reason, message) = of(&[("cart", captured(false)), ("stock", captured(true))]);
    assert_eq!((status, reason), (ConditionStatus::True, reason::CAPTURED));
    assert_eq!(message, "Services whose clients are led here: 2.");
}

#[test]
fn a_service_tells_whether_its_pods_can_be_reached_around_the_waypoint() {
    for (is_locked, want) in [
        (false, "NOT enforced on traffic to addresses of pods."),
        (true, "A NetworkPolicy lets only those reach its pods on these ports who enforce it."),
    ] {
        let (status, _, message) =
            said(ObjectKind::Service, "cart", &[("cart", captured(is_locked))]).unwrap();
        assert_eq!(status, ConditionStatus::True);
        assert!(message.ends_with(want), "{message}");
    }
}
