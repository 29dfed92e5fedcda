//! What is said of a Gateway while proxies come, answer, refuse and go.

use config::Severity;
use config::identity::ProxyId;
use serde_json::json;

use super::*;
use crate::{Options, Resources, Translator, api};

const LISTENER: &str = "edge/http";

fn resources(generation: i64) -> Resources {
    let class =
        json!({ "metadata": { "name": "fairway" }, "spec": { "controllerName": "fairway.dev/controller" } });
    let gateway = json!({
        "metadata": { "name": "edge", "namespace": "n", "generation": generation },
        "spec": { "gatewayClassName": "fairway", "listeners": [{ "name": "http", "port": 80, "protocol": "HTTP" }] },
    });
    let service = json!({
        "metadata": {
            "name": "edge-fairway", "namespace": "n", "labels": { "gateway.networking.k8s.io/gateway-name": "edge" },
        },
        "spec": { "type": "LoadBalancer" },
        "status": { "loadBalancer": { "ingress": [{ "ip": "192.0.2.1" }] } },
    });
    Resources::collect([
        serde_json::from_value::<api::GatewayClass>(class).unwrap().into(),
        serde_json::from_value::<api::Gateway>(gateway).unwrap().into(),
        serde_json::from_value::<api::Service>(service).unwrap().into(),
    ])
}

fn view(generation: i64, revision: u64) -> View {
    let resources = resources(generation);
    let translation = Translator::new(Options::default()).translate(&resources);
    View { resources, translation, generation: Generation::new(0, revision) }
}

fn proxy(pod: &str, answered: Option<u64>, rejections: &[Rejection]) -> ProxyState {
    ProxyState {
        proxy: ProxyId { gateway: GatewayRef::new(Role::Gateway, "n", "edge"), pod: pod.into() },
        generation: answered.map(|revision| Generation::new(0, revision)),
        rejections: rejections.into(),
        is_connected: true,
    }
}

fn programmed(assembled: &Assembled) -> (ConditionStatus, &'static str, String) {
    let key = ObjectKey::new(ObjectKind::Gateway, "n", "edge");
    let Status::Gateway(gateway) = &*assembled.statuses.0[&key] else { panic!() };
    let condition = gateway.conditions.iter().find(|c| c.r#type == condition_type::PROGRAMMED).unwrap();
    (condition.status, condition.reason, condition.message.to_string())
}

fn say(
    assembler: &mut Assembler,
    view: &View,
    proxies: &[ProxyState],
) -> (ConditionStatus, &'static str, String) {
    programmed(&assembler.assemble(view, proxies, &Told::default(), Instant::now()))
}

#[test]
fn a_gateway_is_programmed_once_all_its_proxies_answered() {
    let (mut assembler, view) = (Assembler::default(), view(1, 10));
    assert_eq!(say(&mut assembler, &view, &[]).0, ConditionStatus::Unknown);
    let (status, _, message) =
        say(&mut assembler, &view, &[proxy("a", Some(10), &[]), proxy("b", None, &[])]);
    assert_eq!(status, ConditionStatus::Unknown);
    assert!(message.contains("1 of 2") && message.contains('b'), "{message}");
    let all = [proxy("a", Some(10), &[]), proxy("b", Some(11), &[])];
    assert_eq!(say(&mut assembler, &view, &all).0, ConditionStatus::True);
}

#[test]
fn a_change_of_routes_does_not_unprogram_a_gateway_and_one_of_its_spec_does() {
    let mut assembler = Assembler::default();
    let answered = [proxy("a", Some(10), &[])];
    assert_eq!(say(&mut assembler, &view(1, 10), &answered).0, ConditionStatus::True);
    assert_eq!(say(&mut assembler, &view(1, 20), &answered).0, ConditionStatus::True);
    assert_eq!(say(&mut assembler, &view(2, 30), &answered).0, ConditionStatus::Unknown);
    assert_eq!(say(&mut assembler, &view(2, 30), &[proxy("a", Some(30), &[])]).0, ConditionStatus::True);
}

#[test]
fn a_refused_listener_is_said_with_its_reason() {
    let rejection = Rejection {
        key: config::Key::new(Kind::Listener, "n", LISTENER),
        severity: Severity::Refused,
        message: "port 80 is taken".into(),
    };
    let (status, reason, message) =
        say(&mut Assembler::default(), &view(1, 10), &[proxy("a", Some(10), &[rejection])]);
    assert_eq!((status, reason), (ConditionStatus::False, reason::INVALID));
    assert!(message.contains("port 80 is taken"), "{message}");
}

#[test]
fn what_the_api_server_refused_is_said() {
    let key = ObjectKey::new(ObjectKind::Gateway, "n", "edge");
    let refusals = Refusals::from([(key, "Deployment cannot be made: quota".to_owned())]);
    let told = Told { refusals, ..Told::default() };
    let answered = [proxy("a", Some(10), &[])];
    let said = Assembler::default().assemble(&view(1, 10), &answered, &told, Instant::now());
    assert_eq!(
        programmed(&said),
        (ConditionStatus::False, reason::NO_RESOURCES, "Deployment cannot be made: quota".into())
    );
}

#[test]
fn proxies_out_of_sight_for_a_moment_change_nothing() {
    let (mut assembler, view, now) = (Assembler::default(), view(1, 10), Instant::now());
    assembler.begin(now);
    let look = |assembler: &mut Assembler, proxies: &[ProxyState], at| {
        let said = assembler.assemble(&view, proxies, &Told::default(), at);
        (!said.held.is_empty(), said.again)
    };
    // A new leader has not met them yet.
    assert_eq!(look(&mut assembler, &[], now), (true, Some(now + GRACE)));
    let later = now + GRACE * 2;
    assert_eq!(look(&mut assembler, &[proxy("a", Some(10), &[])], later), (false, None));
    // One that comes back, or joins, has not answered yet.
    assert!(look(&mut assembler, &[proxy("a", None, &[])], later + GRACE / 2).0);
    assert!(look(&mut assembler, &[], later + GRACE / 2).0);
    assert!(!look(&mut assembler, &[], later + GRACE).0);
}

#[test]
fn a_policy_is_enforced_once_all_proxies_have_answered_what_it_says_now() {
    let mut translator = Translator::new(Options::default());
    let mut view = |origin: &str, revision| {
        let policy = json!({
            "metadata": { "name": "p", "namespace": "n" },
            "spec": {
                "targetRefs": [{ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge" }],
                "cors": { "allowOrigins": [origin] },
            },
        });
        let policy = serde_json::from_value::<api::SecurityPolicy>(policy).unwrap();
        let mut resources = resources(1);
        resources.change(ObjectKind::SecurityPolicy, &[], vec![policy.into()]);
        let translation = translator.translate(&resources);
        View { resources, translation, generation: Generation::new(0, revision) }
    };
    let mut assembler = Assembler::default();
    let mut enforced = |view: &View, proxies: &[ProxyState]| {
        let assembled = assembler.assemble(view, proxies, &Told::default(), Instant::now());
        let key = ObjectKey::new(ObjectKind::SecurityPolicy, "n", "p");
        let Status::Policy(policy) = &*assembled.statuses.0[&key] else { panic!() };
        let conditions = &policy.ancestors[0].conditions;
        conditions.iter().find(|condition| condition.r#type == condition_type::ENFORCED).unwrap().status
    };
    let first = view("https://a.example", 10);
    assert_eq!(enforced(&first, &[]), ConditionStatus::Unknown);
    assert_eq!(
        enforced(&first, &[proxy("a", Some(10), &[]), proxy("b", Some(9), &[])]),
        ConditionStatus::Unknown
    );
    assert_eq!(
        enforced(&first, &[proxy("a", Some(10), &[]), proxy("b", Some(11), &[])]),
        ConditionStatus::True
    );
    // One that is out of sight enforces on; what the policy says now has to be answered anew.
    assert_eq!(enforced(&first, &[]), ConditionStatus::True);
    let second = view("https://b.example", 20);
    assert_eq!(enforced(&second, &[proxy("a", Some(11), &[])]), ConditionStatus::Unknown);
    assert_eq!(enforced(&second, &[proxy("a", Some(20), &[])]), ConditionStatus::True);
}
