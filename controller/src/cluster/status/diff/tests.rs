//! What is written, and what is left alone.

use super::*;
use crate::status::{
    Condition, ConditionStatus, GatewayStatus, ListenerStatus, ParentRef, ParentStatus, RouteStatus, reason,
};

const THEN: &str = "2026-01-01T00:00:00Z";
const NOW: &str = "2026-01-02T00:00:00Z";

fn condition(status: ConditionStatus) -> Condition {
    Condition::new(condition_type::ACCEPTED, status, reason::ACCEPTED, "said", Some(3))
}

fn route(status: ConditionStatus) -> Status {
    Status::Route(RouteStatus {
        parents: vec![ParentStatus {
            parent_ref: ParentRef { name: "edge".into(), ..ParentRef::default() },
            controller_name: CONTROLLER_NAME,
            conditions: vec![condition(status)],
        }],
    })
}

fn gateway(routes: i32) -> Status {
    Status::Gateway(GatewayStatus {
        addresses: Vec::new(),
        attached_listener_sets: 0,
        conditions: vec![condition(ConditionStatus::True)],
        listeners: vec![ListenerStatus {
            name: "http".into(),
            attached_routes: routes,
            supported_kinds: Vec::new(),
            conditions: vec![condition(ConditionStatus::True)],
            is_capture: false,
        }],
    })
}

fn written(write: Option<Write>) -> Value {
    match write.unwrap() {
        Write::Apply(value) | Write::Merge(value) => value,
    }
}

/// Writes, then finds nothing more to write.
fn settles(status: &Status, observed: &Value) -> Value {
    let value = written(write(Some(status), observed, status, THEN));
    assert_eq!(write(Some(status), &value, status, NOW), None, "a write must settle");
    value
}

#[test]
fn what_is_said_is_not_written_again() {
    settles(&route(ConditionStatus::True), &Value::Null);
    settles(&gateway(1), &Value::Null);
}

#[test]
fn other_controllers_entries_survive_as_they_are() {
    let theirs =
        json!({ "parentRef": { "name": "edge" }, "controllerName": "example.com/other", "new": { "a": 1 } });
    let observed = json!({ "parents": [theirs] });
    let value = settles(&route(ConditionStatus::True), &observed);
    assert_eq!(value["parents"][0], theirs);
    assert_eq!(value["parents"][1]["controllerName"], CONTROLLER_NAME);
    // The route turned to another Gateway: ours goes, theirs stays.
    let status = route(ConditionStatus::True);
    assert_eq!(written(write(None, &value, &status, NOW)), observed);
    assert_eq!(write(None, &observed, &status, NOW), None);
}

#[test]
fn a_time_changes_only_with_its_status() {
    let before = settles(&route(ConditionStatus::True), &Value::Null);
    let time = |value: &Value| value["parents"][0]["conditions"][0]["lastTransitionTime"].clone();
    assert_eq!(time(&before), THEN);
    let mut reworded = route(ConditionStatus::True);
    if let Status::Route(route) = &mut reworded {
        route.parents[0].conditions[0].message = "said otherwise".into();
    }
    assert_eq!(time(&written(write(Some(&reworded), &before, &reworded, NOW))), THEN);
    let turned = route(ConditionStatus::False);
    assert_eq!(time(&written(write(Some(&turned), &before, &turned, NOW))), NOW);
}

#[test]
fn references_are_compared_as_the_api_server_returns_them() {
    let status = route(ConditionStatus::True);
    let value = written(write(Some(&status), &Value::Null, &status, THEN));
    assert_eq!(value["parents"][0]["parentRef"]["kind"], "Gateway");
    assert_eq!(value["parents"][0]["parentRef"]["group"], "gateway.networking.k8s.io");
}

#[test]
fn a_condition_that_is_no_longer_said_is_taken_back() {
    let mut observed = settles(&gateway(1), &Value::Null);
    let stale = json!({ "type": "OverlappingTLSConfig", "status": "True" });
    observed["listeners"][0]["conditions"].as_array_mut().unwrap().push(stale);
    let status = gateway(1);
    assert!(write(Some(&status), &observed, &status, NOW).is_some());
    // Somebody else's is not ours to take back.
    let mut observed = settles(&gateway(1), &Value::Null);
    observed["conditions"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "type": "example.com/Scanned", "status": "True" }));
    assert_eq!(write(Some(&status), &observed, &status, NOW), None);
}

#[test]
fn counts_listeners_and_addresses_are_compared() {
    let observed = settles(&gateway(1), &Value::Null);
    let more = gateway(2);
    assert!(write(Some(&more), &observed, &more, NOW).is_some());
    let mut addressed = observed;
    addressed["addresses"] = json!([{ "type": "IPAddress", "value": "192.0.2.1" }]);
    let status = gateway(1);
    assert!(write(Some(&status), &addressed, &status, NOW).is_some());
}

#[test]
fn a_count_that_is_no_longer_said_is_taken_back() {
    let mut observed = settles(&gateway(1), &Value::Null);
    assert_eq!(write(Some(&gateway(1)), &observed, &gateway(1), NOW), None);
    observed["attachedListenerSets"] = json!(2);
    assert!(write(Some(&gateway(1)), &observed, &gateway(1), NOW).is_some());
}

#[test]
fn a_change_of_counts_is_told_from_any_other() {
    let status = |routes: i32, programmed: &str| {
        json!({
            "conditions": [{ "type": "Programmed", "status": programmed }],
            "listeners": [{ "name": "http", "attachedRoutes": routes, "conditions": [] }],
        })
    };
    assert!(only_counts(&status(1, "True"), &status(2, "True")));
    assert!(!only_counts(&status(1, "True"), &status(2, "False")));
    let mut foreign = status(1, "True");
    foreign["conditions"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "type": "example.com/Audited", "status": "True" }));
    foreign["attachedListenerSets"] = json!(3);
    assert!(only_counts(&foreign, &status(2, "True")), "what others say is not ours to compare");
}
