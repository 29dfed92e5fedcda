//! What policies may refer to. No part that is there now names an object, so the steps are looked at by themselves.

use serde_json::json;

use super::*;
use crate::{Object as Any, api};

fn world(grant: Option<&str>) -> Resources {
    let object = |kind: &str, namespace: &str, fields: serde_json::Value| -> Any {
        let mut object = json!({ "metadata": { "name": "it", "namespace": namespace } });
        object.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        match kind {
            "Secret" => serde_json::from_value::<api::Secret>(object).unwrap().into(),
            "ConfigMap" => serde_json::from_value::<api::ConfigMap>(object).unwrap().into(),
            _ => serde_json::from_value::<api::Service>(object).unwrap().into(),
        }
    };
    let grant = grant.map(|group| -> Any {
        let grant = json!({ "metadata": { "name": "g", "namespace": "open" }, "spec": {
            "from": [{ "group": group, "kind": "SecurityPolicy", "namespace": "shop" }],
            "to": [{ "group": "", "kind": "Secret" }, { "group": "", "kind": "Service" }] } });
        serde_json::from_value::<api::ReferenceGrant>(grant).unwrap().into()
    });
    let port = json!({ "spec": { "ports": [{ "port": 80 }] } });
    let secret = json!({ "data": { "a": "/wA=", "b": "Yg==" }, "stringData": { "b": "text" } });
    let of = |namespace: &str| {
        [
            object("Secret", namespace, secret.clone()),
            object("ConfigMap", namespace, json!({ "data": { "c": "d" }, "binaryData": { "e": "/w==" } })),
            object("Service", namespace, port.clone()),
        ]
    };
    Resources::collect(of("shop").into_iter().chain(of("open")).chain(grant))
}

/// The reason and message of what is wrong.
fn object_problem(
    grant: Option<&str>,
    kind: Object,
    namespace: &str,
    name: &str,
) -> Option<(&'static str, String)> {
    let now = world(grant);
    let object = ObjectRef { kind, namespace: namespace.to_owned(), name: name.to_owned() };
    let (_, problem) =
        look_up((ObjectKind::SecurityPolicy, "shop"), &object, &now, &Grants::new(&now.reference_grants));
    problem.map(|problem| (problem.reason, problem.message))
}

fn backend_problem(
    grant: Option<&str>,
    namespace: &str,
    name: &str,
    port: u16,
) -> Option<(&'static str, String)> {
    let now = world(grant);
    let backend = BackendRef { namespace: namespace.to_owned(), name: name.to_owned(), port };
    let service = now.services.get(namespace, name);
    let problem =
        reach((ObjectKind::SecurityPolicy, "shop"), &backend, service, &Grants::new(&now.reference_grants));
    problem.map(|problem| (problem.reason, problem.message))
}

#[test]
fn what_is_in_another_namespace_needs_a_grant_to_policies_of_ours() {
    let ours = Some("fairway.dev");
    assert_eq!(object_problem(None, Object::Secret, "shop", "it"), None);
    assert_eq!(object_problem(ours, Object::Secret, "open", "it"), None);
    assert_eq!(backend_problem(ours, "open", "it", 80), None);
    for grant in [None, Some("gateway.networking.k8s.io")] {
        let (reason, message) = object_problem(grant, Object::Secret, "open", "it").unwrap();
        assert_eq!(reason, reason::REF_NOT_PERMITTED);
        assert!(message.contains("from SecurityPolicy in namespace shop"), "{message}");
        assert_eq!(backend_problem(grant, "open", "it", 80).unwrap().0, reason::REF_NOT_PERMITTED);
    }
    // The grant names Secrets and Services.
    let (reason, _) = object_problem(ours, Object::ConfigMap, "open", "it").unwrap();
    assert_eq!(reason, reason::REF_NOT_PERMITTED);
    // Whether it is there is told to those only who may know.
    let (reason, _) = object_problem(None, Object::Secret, "open", "nothing").unwrap();
    assert_eq!(reason, reason::REF_NOT_PERMITTED);
}

#[test]
fn what_is_not_there_is_told() {
    let (reason, message) = object_problem(None, Object::ConfigMap, "shop", "nothing").unwrap();
    assert_eq!((reason, &*message), (reason::INVALID, "ConfigMap shop/nothing does not exist"));
    let (reason, message) = backend_problem(None, "shop", "it", 81).unwrap();
    assert_eq!((reason, &*message), (reason::BACKEND_NOT_FOUND, "Service shop/it has no port 81"));
    assert_eq!(
        backend_problem(None, "shop", "nothing", 80).unwrap().1,
        "Service shop/nothing does not exist"
    );
}

#[test]
fn proxies_get_what_an_object_holds_as_the_api_server_reads_it() {
    let now = world(None);
    let read = |kind| {
        let object = ObjectRef { kind, namespace: "shop".to_owned(), name: "it".to_owned() };
        let material = material(&object, &now).unwrap().decode().unwrap().0;
        material.into_iter().map(|(key, value)| (key, value.to_vec())).collect::<Vec<_>>()
    };
    let pair = |key: &str, value: &[u8]| (key.to_owned(), value.to_vec());
    assert_eq!(read(Object::Secret), [pair("a", &[255, 0]), pair("b", b"text")]);
    assert_eq!(read(Object::ConfigMap), [pair("c", b"d"), pair("e", &[255])]);
}

#[test]
fn only_policies_of_the_controllers_namespace_are_about_a_class() {
    let class = json!({ "group": GATEWAY_GROUP, "kind": "GatewayClass", "name": "edge" });
    let judged = |namespace: &str, targets: serde_json::Value| {
        let policy =
            json!({ "metadata": { "name": "p", "namespace": namespace }, "spec": { "targetRefs": targets } });
        let policy = Policy::Security(Arc::new(serde_json::from_value(policy).unwrap()));
        let key = policy.key();
        judge(policy, key, &Resources::default(), "platform")
    };
    let own = judged("platform", json!([class]));
    assert!(own.problems.is_empty(), "{:?}", own.problems);
    let at = Target { object: ObjectKey::new(ObjectKind::GatewayClass, "", "edge"), section: None };
    assert_eq!(own.targets, [at]);

    for namespace in ["shop", "fairway-system", ""] {
        let route = json!({ "group": GATEWAY_GROUP, "kind": "HTTPRoute", "name": "shop" });
        let other = judged(namespace, json!([class, route]));
        assert!(other.targets.iter().all(|target| target.object.kind == ObjectKind::HttpRoute), "{other:?}");
        assert_eq!(other.targets.len(), 1, "what may be its target is, and is refused");
        let messages: Vec<&str> = other.problems.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(
            messages,
            [format!(
                "targetRefs: GatewayClass edge: it is everybody's, and only policies of the controller's namespace, platform, \
                 can be about one: name Gateways of namespace {namespace}"
            )]
        );
    }
}
