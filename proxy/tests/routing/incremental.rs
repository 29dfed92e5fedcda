//! Compiling change by change comes to the same as compiling everything at once.

use std::sync::Arc;

use config::{
    Action, Backend, BackendTrafficPolicy, Endpoints, Key, Kind, Listener, Parent, Protocol, Resource,
    Resources, Scope, SecurityPolicy, SecuritySet, Update,
};
use fairway_proxy::snapshot::Snapshot;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::oracle::Asked;
use super::precedence::{asked, http_route, to_request};
use super::support::{Plain, backend_ref, captured, compile, compiler, decide, messages};

/// A change of one resource.
#[derive(Debug, Clone)]
enum Step {
    Put(Key, Box<Resource>),
    Take(Key),
}

fn listener() -> impl Strategy<Value = (Key, Resource)> {
    let hostname = select(&[None, Some("*.test"), Some("a.test"), Some("A.test"), Some("*.a.test")][..]);
    let scope = prop_oneof![
        5 => Just(Scope::Gateway),
        1 => Just(Scope::Service(captured("a"))),
    ];
    (select(&["one", "two", "three"][..]), hostname, 80u16..83, scope, attached()).prop_map(
        |(section, hostname, port, scope, attached)| {
            let listener = Listener {
                address: None,
                port,
                protocol: Protocol::Http,
                hostname: hostname.map(str::to_owned),
                tls: None,
                backend_certificate: None,
                traffic: None,
                attached,
                scope,
            };
            (Key::new(Kind::Listener, "infra", format!("gw/{section}")), Resource::Listener(listener))
        },
    )
}

fn route() -> impl Strategy<Value = (Key, Resource)> {
    let backends = vec(select(&["a", "b", "none"][..]), 4);
    let attached = (attached(), attached(), attached());
    let route = (select(&["a", "b", "c", "d"][..]), http_route());
    (route, any::<bool>(), backends, any::<bool>(), attached).prop_map(
        |((name, mut route), of_service, backends, is_broken, (of_route, of_rule, of_share))| {
            if of_service {
                route.parents.push(Parent::Service(captured("a")));
            }
            for (rule, backend) in route.rules.iter_mut().zip(backends) {
                *rule = super::support::rule(rule.matches.clone(), backend);
            }
            route.attached = of_route;
            if let Some(rule) = route.rules.first_mut() {
                rule.attached = of_rule;
                if let Action::Forward(shares) = &mut rule.action {
                    shares[0].attached = of_share;
                }
            }
            if is_broken && let Some(spec) = route.rules.iter_mut().flat_map(|rule| &mut rule.matches).next()
            {
                spec.path = config::PathMatch::Regex("(".to_owned());
            }
            (Key::new(Kind::HttpRoute, "ns", name), Resource::HttpRoute(route))
        },
    )
}

/// Policies, most of which there are.
fn attached() -> impl Strategy<Value = Vec<Key>> {
    let keys =
        ["SecurityPolicy/ns/p", "SecurityPolicy/ns/q", "SecurityPolicy/ns/r", "BackendTrafficPolicy/ns/t"];
    proptest::sample::subsequence(keys.map(|key| key.parse().unwrap()).to_vec(), 0..3)
}

fn traffic_policy() -> impl Strategy<Value = (Key, Resource)> {
    let invalid = prop::option::of(Just("broken".to_owned()));
    invalid.prop_map(|invalid| {
        let policy = BackendTrafficPolicy { invalid, ..BackendTrafficPolicy::default() };
        let key = Key::new(Kind::BackendTrafficPolicy, "ns", "t");
        (key, Resource::BackendTrafficPolicy(Box::new(policy)))
    })
}

fn policy() -> impl Strategy<Value = (Key, Resource)> {
    let set = || {
        prop::option::of(select(super::support::ORIGINS)).prop_map(|origin| {
            let cors = origin.map(|origin| serde_json::json!({ "cors": { "allowOrigins": [origin] } }));
            serde_json::from_value::<SecuritySet>(cors.unwrap_or_else(|| serde_json::json!({}))).unwrap()
        })
    };
    let invalid = prop_oneof![4 => Just(None), 1 => Just(Some("broken".to_owned()))];
    (select(&["p", "q"][..]), set(), set(), invalid).prop_map(|(name, defaults, overrides, invalid)| {
        let policy = SecurityPolicy { defaults, overrides, invalid };
        (Key::new(Kind::SecurityPolicy, "ns", name), Resource::SecurityPolicy(Box::new(policy)))
    })
}

fn backend() -> impl Strategy<Value = (Key, Resource)> {
    (select(&["a", "b"][..]), prop::option::of(1u32..3)).prop_map(|(name, max_connections)| {
        let backend = Backend { max_connections, ..Backend::default() };
        (Key::backend(&backend_ref(name)), Resource::Backend(backend))
    })
}

fn endpoints() -> impl Strategy<Value = (Key, Resource)> {
    select(&["a", "b"][..])
        .prop_map(|name| (Key::endpoints(&backend_ref(name)), Resource::Endpoints(Endpoints::default())))
}

fn step() -> impl Strategy<Value = Step> {
    let resource = prop_oneof![
        2 => listener(),
        5 => route(),
        2 => backend(),
        1 => endpoints(),
        3 => policy(),
        1 => traffic_policy(),
    ];
    (resource, prop::bool::weighted(0.3)).prop_map(|((key, resource), take)| match take {
        true => Step::Take(key),
        false => Step::Put(key, Box::new(resource)),
    })
}

/// All that can be seen of a snapshot.
fn view(snapshot: &Snapshot, requests: &[Asked]) -> Vec<String> {
    let mut view: Vec<String> = Vec::new();
    for port in 80..83 {
        for asked in requests {
            view.push(decide(snapshot, port, &asked.host, &to_request(asked)));
        }
    }
    for (bind, port) in &snapshot.ports {
        view.push(format!("{bind:?} {:?} {:?}", port.protocol, port.listeners));
    }
    view.extend(snapshot.clusters.iter().map(|cluster| cluster.backend.to_string()));
    view.sort();
    view
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changes_one_by_one_come_to_the_same_as_all_at_once(
        updates in vec(vec(step(), 1..4), 1..12),
        requests in vec(asked(), 12),
    ) {
        let mut incremental = compiler();
        let mut resources = Plain::new();
        for (version, steps) in updates.into_iter().enumerate() {
            let mut update = Update { version: version as u64, ..Update::default() };
            for step in steps {
                match step {
                    Step::Put(key, resource) => {
                        update.removes.retain(|removed| *removed != key);
                        update.upserts.insert(key, Arc::from(resource));
                    }
                    Step::Take(key) => {
                        update.upserts.remove(&key);
                        update.removes.push(key);
                    }
                }
            }
            resources.extend(update.upserts.iter().map(|(key, resource)| (key.clone(), Resource::clone(resource))));
            resources.retain(|key, _| !update.removes.contains(key));
            let (snapshot, rejections) = incremental.apply(update);
            let (wanted, wanted_rejections) = compile(resources.clone());
            prop_assert_eq!(view(&snapshot, &requests), view(&wanted, &requests));
            prop_assert_eq!(messages(&rejections), messages(&wanted_rejections));
        }
        let all = resources.into_keys().collect();
        let (snapshot, rejections) = incremental.apply(Update { version: 0, upserts: Resources::new(), removes: all });
        prop_assert!(snapshot.ports.is_empty() && snapshot.clusters.is_empty() && rejections.is_empty());
    }
}
