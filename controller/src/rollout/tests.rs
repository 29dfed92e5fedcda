//! What becomes of rollouts: laws for whatever is said and seen, and the courses that people expect.

use config::load::Counts;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::CustomResourceExt as _;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{ObjectKey, ObjectKind};

fn spec(steps: &[i32]) -> RolloutSpec {
    let steps: Vec<_> = steps.iter().map(|weight| json!({ "weight": weight, "pause": "30s" })).collect();
    serde_json::from_value(json!({
        "targetRef": { "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "web" },
        "stable": { "name": "web-v1", "port": 80 },
        "canary": { "name": "web-v2", "port": 80 },
        "steps": steps,
    }))
    .unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

/// So many requests of which so many failed, all answered within 10 ms.
fn requests(succeeded: u64, failed: u64) -> Counts {
    let latency = [(10_000_000, succeeded + failed), (1_000_000_000, 0), (Counts::SLOWER, 0)].into();
    Counts { succeeded, failed, cancelled: 0, latency }
}

/// The same, all in 10 ms to a second.
fn slow(succeeded: u64) -> Counts {
    let latency = [(10_000_000, 0), (1_000_000_000, succeeded), (Counts::SLOWER, 0)].into();
    Counts { succeeded, failed: 0, cancelled: 0, latency }
}

fn seen(window: Counts) -> Observed {
    Observed { is_accepted: true, has_endpoints: true, window: Some(window) }
}

fn nothing() -> Observed {
    Observed { is_accepted: true, has_endpoints: true, window: None }
}

/// Goes on from a status; returns also the reasons of what is told.
fn go(
    spec: &RolloutSpec,
    status: &RolloutStatus,
    observed: &Observed,
    now: i64,
) -> (RolloutStatus, Vec<&'static str>) {
    let (status, events) = step(spec, Some(1), status, observed, at(now));
    (status, events.iter().map(|event| event.reason).collect())
}

fn begun(spec: &RolloutSpec) -> RolloutStatus {
    go(spec, &RolloutStatus::default(), &nothing(), 0).0
}

#[test]
fn a_healthy_canary_gets_step_by_step_all() {
    let spec = spec(&[10, 50]);
    let (status, told) = go(&spec, &RolloutStatus::default(), &nothing(), 0);
    assert_eq!(
        (status.phase, status.weight, status.step, &*told),
        (Phase::Progressing, 10, 1, &["StepStarted"][..])
    );
    // Its check holds, and the pause is not over.
    let (status, told) = go(&spec, &status, &seen(requests(99, 1)), 10);
    assert_eq!((status.weight, told.len()), (10, 0));
    let last = status.analysis.clone().unwrap();
    assert_eq!((last.requests, last.success_rate), (100, 99.0));
    let (status, _) = go(&spec, &status, &nothing(), 29);
    assert_eq!(status.weight, 10);
    let (status, _) = go(&spec, &status, &nothing(), 30);
    assert_eq!((status.weight, status.step), (50, 2));
    // A pause without a check of its own is not enough.
    let (status, _) = go(&spec, &status, &nothing(), 600);
    assert_eq!(status.weight, 50);
    let (status, told) = go(&spec, &status, &seen(requests(20, 0)), 601);
    assert_eq!((status.phase, status.weight, &*told), (Phase::Succeeded, 100, &["Succeeded"][..]));
    // Whatever comes then.
    let (after, told) = go(&spec, &status, &seen(requests(0, 100)), 700);
    assert_eq!((after, told.len()), (status, 0));
}

#[test]
fn a_broken_canary_has_nothing_after_the_first_check() {
    let mut spec = spec(&[10, 50]);
    let (status, told) = go(&spec, &begun(&spec), &seen(requests(98, 2)), 10);
    assert_eq!((status.phase, status.weight, &*told), (Phase::RolledBack, 0, &["RolledBack"][..]));
    let healthy = status.conditions.iter().find(|condition| condition.type_ == "Healthy").unwrap();
    assert_eq!(
        (&*healthy.status, &*healthy.message),
        ("False", "98 % of 100 requests succeeded, less than 99 %.")
    );
    let progressing = status.conditions.iter().find(|condition| condition.type_ == "Progressing").unwrap();
    assert!(progressing.message.contains("web-v2:80 has nothing any more: 98 %"), "{}", progressing.message);
    // It stays so, and why is not forgotten.
    assert_eq!(go(&spec, &status, &seen(requests(100, 0)), 20).0, status);
    // Latency breaks it too.
    spec.analysis.p99 = Some("500ms".parse().unwrap());
    let (status, told) = go(&spec, &begun(&spec), &seen(slow(100)), 10);
    assert_eq!((status.phase, &*told), (Phase::RolledBack, &["RolledBack"][..]));
    // No answer at all is none in time.
    spec.analysis.success_rate = 0.0;
    let dead = Counts { failed: 50, ..Counts::default() };
    assert_eq!(go(&spec, &begun(&spec), &seen(dead), 10).0.phase, Phase::RolledBack);
}

#[test]
fn below_its_limit_a_failing_check_holds_the_step() {
    let mut spec = spec(&[10]);
    spec.analysis.failure_limit = 2;
    let (status, told) = go(&spec, &begun(&spec), &seen(requests(0, 20)), 40);
    assert_eq!(
        (status.phase, status.weight, status.failures, &*told),
        (Phase::Progressing, 10, 1, &["CheckFailed"][..])
    );
    let (held, _) = go(&spec, &status, &nothing(), 90);
    assert_eq!(held.weight, 10);
    // One that holds takes it on; a second one that fails takes it back.
    assert_eq!(go(&spec, &status, &seen(requests(20, 0)), 50).0.phase, Phase::Succeeded);
    assert_eq!(go(&spec, &status, &seen(requests(0, 20)), 50).0.phase, Phase::RolledBack);
    spec.analysis.failure_limit = 0;
    let mut status = begun(&spec);
    for now in (10..1_000).step_by(10) {
        status = go(&spec, &status, &seen(requests(0, 20)), now).0;
    }
    assert_eq!((status.phase, status.weight, status.failures), (Phase::Progressing, 10, 99));
}

#[test]
fn a_pause_holds_everything_and_begins_the_step_anew() {
    let mut spec = spec(&[10, 50]);
    let checked = go(&spec, &begun(&spec), &seen(requests(100, 0)), 10).0;
    spec.paused = true;
    let (held, told) = go(&spec, &checked, &seen(requests(0, 100)), 20);
    assert_eq!((held.phase, held.weight, &*told), (Phase::Paused, 10, &["Paused"][..]));
    let (still, told) = go(&spec, &held, &nothing(), 1_000);
    assert_eq!((still, told.len()), (held.clone(), 0));
    spec.paused = false;
    let (on, told) = go(&spec, &held, &nothing(), 2_000);
    assert_eq!((on.phase, on.weight, &*told), (Phase::Progressing, 10, &["Resumed"][..]));
    // The check of before the pause says nothing.
    assert_eq!(go(&spec, &on, &nothing(), 2_060).0.weight, 10);
    assert_eq!(go(&spec, &on, &seen(requests(100, 0)), 2_060).0.weight, 50);
}

#[test]
fn steps_that_are_edited_on_the_way_keep_the_weight() {
    let on_the_way = begun(&spec(&[10, 50]));
    for steps in [&[5, 10, 20][..], &[20, 30], &[5], &[10, 11]] {
        let edited = spec(steps);
        let (status, _) = go(&edited, &on_the_way, &nothing(), 5);
        assert_eq!((status.phase, status.weight), (Phase::Progressing, 10), "{steps:?}");
        let (status, _) = go(&edited, &on_the_way, &seen(requests(100, 0)), 60);
        let next = steps.iter().copied().find(|weight| *weight > 10).unwrap_or(100);
        assert_eq!(status.weight, next, "{steps:?}");
    }
}

#[test]
fn another_canary_or_revision_begins_anew_and_so_does_the_end_of_a_dry_run() {
    let old = spec(&[10, 50]);
    let done = RolloutStatus { phase: Phase::Succeeded, weight: 100, ..begun(&old) };
    let mut other = old.clone();
    other.canary.name = "web-v3".into();
    let revised = RolloutSpec { revision: Some("2".into()), ..old.clone() };
    let dry = RolloutSpec { dry_run: true, ..old };
    for spec in [other, revised, dry] {
        let (status, told) = go(&spec, &done, &seen(requests(0, 100)), 900);
        assert_eq!((status.phase, status.weight, &*told), (Phase::Progressing, 10, &["StepStarted"][..]));
        assert_eq!((status.analysis, status.failures), (None, 0));
        assert_eq!(status.subject, Some(spec.subject()));
    }
}

#[test]
fn what_is_not_accepted_waits_where_it_is() {
    let spec = spec(&[10, 50]);
    let on_the_way = begun(&spec);
    let (waiting, told) = go(&spec, &on_the_way, &Observed::default(), 10);
    assert_eq!((waiting.phase, waiting.weight, told.len()), (Phase::Pending, 10, 0));
    let (on, _) = go(&spec, &waiting, &nothing(), 100);
    assert_eq!((on.phase, on.weight, on.since), (Phase::Progressing, 10, Some(MicroTime(at(100)))));
}

#[test]
fn a_canary_without_endpoints_gets_nothing_and_one_that_loses_them_has_nothing_at_once() {
    let gone = Observed { has_endpoints: false, ..nothing() };
    let mut spec = spec(&[10, 50]);
    let (waiting, told) = go(&spec, &RolloutStatus::default(), &gone, 0);
    assert_eq!((waiting.phase, waiting.weight, told.len()), (Phase::Pending, 0, 0));
    let healthy = waiting.conditions.iter().find(|condition| condition.type_ == "Healthy").unwrap();
    assert_eq!((&*healthy.status, &*healthy.reason), ("False", "NoEndpoints"));
    let (begun, told) = go(&spec, &waiting, &nothing(), 60);
    assert_eq!((begun.phase, begun.weight, &*told), (Phase::Progressing, 10, &["StepStarted"][..]));
    let (back, told) = go(&spec, &begun, &gone, 61);
    assert_eq!((back.phase, back.weight, &*told), (Phase::RolledBack, 0, &["RolledBack"][..]));
    // Where nothing rolls back it is held.
    spec.analysis.failure_limit = 0;
    let (held, told) = go(&spec, &begun, &gone, 500);
    assert_eq!((held.phase, held.weight, told.len()), (Phase::Progressing, 10, 0));
    // A pause holds this too.
    spec.paused = true;
    assert_eq!(go(&spec, &begun, &gone, 500).0.phase, Phase::Paused);
}

#[derive(Debug, Clone)]
enum Turn {
    Look { seconds: i64, window: Option<(u64, u64)>, is_accepted: bool, has_endpoints: bool },
    Pause(bool),
    Steps(Vec<i32>),
    Canary(u8),
}

fn steps() -> impl Strategy<Value = Vec<i32>> {
    proptest::collection::btree_set(1i32..=100, 1..8).prop_map(|all| all.into_iter().collect())
}

fn turn() -> impl Strategy<Value = Turn> {
    let window = proptest::option::of((0u64..60, 0u64..4));
    prop_oneof![
        12 => (0i64..40, window, prop::bool::weighted(0.95), prop::bool::weighted(0.97)).prop_map(
            |(seconds, window, is_accepted, has_endpoints)| Turn::Look { seconds, window, is_accepted, has_endpoints }
        ),
        1 => any::<bool>().prop_map(Turn::Pause),
        1 => steps().prop_map(Turn::Steps),
        1 => (0u8..2).prop_map(Turn::Canary),
    ]
}

proptest! {
    #[test]
    fn weights_go_to_the_next_step_after_a_check_that_held_or_to_nothing(
        first in steps(), limit in 0i32..3, turns in proptest::collection::vec(turn(), 1..80),
    ) {
        let mut spec = spec(&first);
        spec.analysis.failure_limit = limit;
        let (mut status, mut now) = (RolloutStatus::default(), 0);
        // Since the step began: a check has held, and the last one did.
        let (mut held, mut since) = (false, 0);
        for turn in turns {
            let (seconds, window, is_accepted, has_endpoints) = match turn {
                Turn::Look { seconds, window, is_accepted, has_endpoints } => (seconds, window, is_accepted, has_endpoints),
                Turn::Pause(paused) => { spec.paused = paused; continue }
                Turn::Steps(weights) => { spec.steps = self::spec(&weights).steps; continue }
                Turn::Canary(which) => { spec.canary.name = format!("v{which}"); continue }
            };
            now += seconds;
            let window_of = window.map(|(good, bad)| requests(good, bad));
            let observed = Observed { is_accepted, has_endpoints, window: window_of };
            let (next, events) = step(&spec, None, &status, &observed, at(now));
            let is_same = status.subject == Some(spec.subject());
            let before = if is_same { status.weight } else { 0 };
            if is_accepted && spec.paused && is_same {
                prop_assert_eq!(next.weight, status.weight);
            }
            let is_enough = window.is_some_and(|(good, bad)| good + bad >= 20);
            let fails = window.is_some_and(|(good, bad)| (good * 100) < 99 * (good + bad));
            let is_checked = is_accepted && has_endpoints && is_same && !spec.paused
                && status.phase == Phase::Progressing && before > 0 && is_enough;
            if is_checked {
                held = !fails;
            }
            if is_accepted && next.weight > before {
                let wanted = spec.steps.iter().map(|step| step.weight).find(|weight| *weight > before).unwrap_or(100);
                prop_assert_eq!(next.weight, wanted);
                prop_assert!(has_endpoints, "without an endpoint");
                prop_assert!(before == 0 || (held && now >= since), "without a check that held");
            }
            if next.weight < before {
                prop_assert_eq!((next.weight, next.phase), (0, Phase::RolledBack));
                prop_assert!(limit > 0 && !spec.paused && (is_checked && fails || !has_endpoints));
            }
            if !is_accepted {
                prop_assert_eq!((next.weight, events.len()), (status.weight, 0));
            }
            if next.since != status.since {
                (held, since) = (false, now);
            }
            // What it says is what it is, and deciding again at once is deciding nothing.
            prop_assert_eq!(next.phase == Phase::RolledBack && next.weight != 0, false);
            prop_assert_eq!(next.phase == Phase::Succeeded && next.weight != 100, false);
            let again = step(&spec, None, &next, &Observed { window: None, ..observed }, at(now));
            prop_assert_eq!(&again.0, &next);
            prop_assert!(again.1.is_empty());
            status = next;
        }
    }

    #[test]
    fn what_is_written_is_read_as_it_was(turns in proptest::collection::vec((0i64..40, 0u64..60, 0u64..3), 0..20)) {
        let spec = spec(&[1, 7, 30]);
        let (mut status, mut now) = (RolloutStatus::default(), 0);
        for (seconds, good, bad) in turns {
            now += seconds;
            status = step(&spec, Some(3), &status, &seen(requests(good, bad)), at(now)).0;
            let read: RolloutStatus = serde_json::from_str(&serde_json::to_string(&status).unwrap()).unwrap();
            prop_assert_eq!(&read, &status);
        }
    }
}

fn rollout(spec: RolloutSpec, status: Option<RolloutStatus>) -> Rollout {
    let mut rollout = Rollout::new("web", spec);
    rollout.metadata.namespace = Some("shop".into());
    rollout.status = status;
    rollout
}

#[test]
fn a_check_looks_at_requests_of_its_step_alone_and_waits_for_enough() {
    let key = ObjectKey::new(ObjectKind::Rollout, "shop", "web");
    let (mut engine, mut now) = (Engine::default(), 0);
    let mut status = None;
    let mut turn = |seconds, counts: Counts| {
        now += seconds;
        let rollout = rollout(spec(&[10, 50]), status.clone());
        let sight = Sight { is_accepted: true, has_endpoints: true, counts };
        let decision = engine.decide(&key, &rollout, sight, at(now));
        if let Some(decision) = decision {
            status = Some(decision.status);
        }
        status.clone().unwrap()
    };
    // Failures of before it began are nobody's.
    assert_eq!(turn(0, requests(0, 500)).weight, 10);
    // Ten seconds, and 15 requests: not enough. The check waits, and looks at all of them.
    turn(1, requests(0, 500));
    assert_eq!(turn(10, requests(15, 500)).analysis, None);
    assert_eq!(turn(5, requests(19, 500)).analysis, None);
    assert_eq!(turn(1, requests(20, 500)).analysis.unwrap().requests, 20);
    assert_eq!(turn(13, requests(60, 500)).weight, 50, "30 seconds after it began");
    // What came in between belongs to the step before.
    turn(1, requests(80, 530));
    let last = turn(10, requests(100, 530)).analysis.unwrap();
    assert_eq!((last.requests, last.success_rate), (20, 100.0));
}

#[test]
fn only_what_is_on_its_way_asks_what_comes_to_its_canary() {
    let begun = begun(&spec(&[10]));
    let of = |phase| rollout(spec(&[10]), Some(RolloutStatus { phase, ..begun.clone() })).observes();
    let canary = BackendRef { namespace: "shop".into(), name: "web-v2".into(), port: 80 };
    assert_eq!(rollout(spec(&[10]), None).observes(), Some(canary.clone()));
    assert_eq!(of(Phase::Progressing), Some(canary.clone()));
    for over in [Phase::Paused, Phase::Succeeded, Phase::RolledBack] {
        assert_eq!(of(over), None, "{over:?}");
    }
    // One that is over and begins anew.
    let revised = RolloutSpec { revision: Some("2".into()), ..spec(&[10]) };
    let over = RolloutStatus { phase: Phase::Succeeded, ..begun.clone() };
    assert_eq!(rollout(revised, Some(over)).observes(), Some(canary));
}

#[test]
fn weights_hold_for_what_they_were_decided_for_only() {
    let status = RolloutStatus { weight: 30, ..begun(&spec(&[10])) };
    assert_eq!(rollout(spec(&[10]), Some(status.clone())).weight(), Some(30));
    assert_eq!(rollout(spec(&[10]), None).weight(), Some(0));
    let revised = RolloutSpec { revision: Some("2".into()), ..spec(&[10]) };
    assert_eq!(rollout(revised, Some(status.clone())).weight(), Some(0));
    let dry = RolloutSpec { dry_run: true, ..spec(&[10]) };
    assert_eq!(rollout(dry, Some(status)).weight(), None);
}

#[test]
fn what_no_rollout_can_be_is_named() {
    assert_eq!(spec(&[1, 50, 100]).problem(), None);
    let with = |change: fn(&mut RolloutSpec)| {
        let mut spec = spec(&[10]);
        change(&mut spec);
        spec.problem().unwrap()
    };
    assert_eq!(
        spec(&[10, 10]).problem().unwrap(),
        "steps[1].weight: 10 is not more than 10, that of the step before"
    );
    assert!(spec(&[0]).problem().unwrap().starts_with("steps[0].weight: "));
    assert!(with(|spec| spec.steps.clear()).starts_with("steps: "));
    assert!(with(|spec| spec.canary = spec.stable.clone()).starts_with("canary: "));
    assert!(
        with(|spec| spec.analysis.interval = "999ms".parse().unwrap()).starts_with("analysis.interval: ")
    );
    assert!(with(|spec| spec.analysis.min_requests = 0).starts_with("analysis.minRequests: "));
    assert!(with(|spec| spec.analysis.success_rate = 100.5).starts_with("analysis.successRate: "));
    assert!(with(|spec| spec.analysis.p99 = Some("11s".parse().unwrap())).starts_with("analysis.p99: "));
    assert!(with(|spec| spec.analysis.failure_limit = -1).starts_with("analysis.failureLimit: "));
}

#[test]
fn its_crd_is_structural() {
    let crd = json!(Rollout::crd());
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    crate::client_traffic_policy::check_structure(&schema["spec"], "spec", false);
    crate::client_traffic_policy::check_structure(&schema["status"], "status", false);
}
