//! What the proxies' answer means for each object.

mod programmer;

use std::collections::BTreeMap;
use std::sync::Arc;

use config::{Kind, Rejection, Resource, Severity, Target};

pub(crate) use self::programmer::Programmer;
use super::Translation;
use super::gateway_status::WAITING;
use crate::resources::ObjectKind;
use crate::status::condition::{find, set};
use crate::status::{
    Condition, ConditionStatus, Conditions, GatewayStatus, ListenerSetStatus, ListenerStatus, PolicyStatus,
    condition_type, reason,
};
use crate::{ObjectKey, Statuses};

/// The statuses once the proxies have answered. `applied` says that they serve this translation, save what
/// they reject; until then `Programmed` stays `Unknown`.
///
/// A rejected listener or certificate is `Programmed=False` on its listener; a rejected route or backend
/// shows in `Accepted`, `PartiallyInvalid` and `ResolvedRefs` of the routes it concerns. Messages are the
/// proxies' own.
#[must_use]
pub fn program(translation: &Translation, rejections: &[Rejection], applied: bool) -> Statuses {
    if !applied {
        return translation.statuses.clone();
    }
    Programmer::default().program(translation, rejections.to_vec(), |_| true, |_, _| true)
}

/// What is wrong with a route.
struct RouteProblem<'a> {
    condition: &'static str,
    reason: &'static str,
    message: &'a str,
}

/// Rejections by the object they concern.
#[derive(Default)]
struct Rejections<'a> {
    /// By namespace and name of the listener resource: `gateway/section` or `service:port`.
    listeners: BTreeMap<(&'a str, &'a str), &'a Rejection>,
    /// By `namespace/name` of the Secret.
    certificates: BTreeMap<String, &'a Rejection>,
    routes: BTreeMap<ObjectKey, Vec<RouteProblem<'a>>>,
    policies: BTreeMap<ObjectKey, &'a Rejection>,
}

impl<'a> Rejections<'a> {
    fn new(translation: &Translation, rejections: &'a [Rejection]) -> Self {
        let mut sorted = Self::default();
        let mut backends = BTreeMap::new();
        for rejection in rejections {
            let (namespace, name) = (rejection.key.namespace.as_str(), rejection.key.name.as_str());
            match rejection.key.kind {
                Kind::Listener => drop(sorted.listeners.insert((namespace, name), rejection)),
                Kind::Certificate => {
                    sorted.certificates.insert(format!("{namespace}/{name}"), rejection);
                }
                Kind::SecurityPolicy => {
                    sorted
                        .policies
                        .insert(ObjectKey::new(ObjectKind::SecurityPolicy, namespace, name), rejection);
                }
                Kind::BackendTrafficPolicy => {
                    let policy = ObjectKey::new(ObjectKind::BackendTrafficPolicy, namespace, name);
                    sorted.policies.insert(policy, rejection);
                }
                // Whoever needs them is rejected; and nobody is told of Pods.
                Kind::Secret | Kind::ConfigMap | Kind::Workload => {}
                Kind::Backend | Kind::Endpoints => drop(backends.insert((namespace, name), rejection)),
                Kind::HttpRoute => sorted.route(ObjectKind::HttpRoute, rejection),
                Kind::GrpcRoute => sorted.route(ObjectKind::GrpcRoute, rejection),
                Kind::TlsRoute => sorted.route(ObjectKind::TlsRoute, rejection),
                Kind::TcpRoute => sorted.route(ObjectKind::TcpRoute, rejection),
                Kind::UdpRoute => sorted.route(ObjectKind::UdpRoute, rejection),
            }
        }
        if !backends.is_empty() {
            sorted.users_of(&backends, translation);
        }
        sorted
    }

    fn route(&mut self, kind: ObjectKind, rejection: &'a Rejection) {
        let key = ObjectKey::new(kind, rejection.key.namespace.as_str(), rejection.key.name.as_str());
        let condition = match rejection.severity {
            Severity::Degraded => condition_type::PARTIALLY_INVALID,
            Severity::Refused => condition_type::ACCEPTED,
        };
        let problem =
            RouteProblem { condition, reason: reason::UNSUPPORTED_VALUE, message: &rejection.message };
        self.routes.entry(key).or_default().push(problem);
    }

    /// Finds the routes that send requests to rejected backends.
    fn users_of(&mut self, backends: &BTreeMap<(&str, &str), &'a Rejection>, translation: &Translation) {
        for (key, resource) in &translation.resources {
            let mut found: Vec<&'a Rejection> = Vec::new();
            let mut look = |backend: config::Key| {
                found.extend(backends.get(&(backend.namespace.as_str(), backend.name.as_str())).copied());
            };
            let kind = match &**resource {
                Resource::HttpRoute(route) => {
                    uses(route, &mut look);
                    ObjectKind::HttpRoute
                }
                Resource::GrpcRoute(route) => {
                    uses(route, &mut look);
                    ObjectKind::GrpcRoute
                }
                Resource::TlsRoute(route) => {
                    targets(&route.action).map(config::Key::backend).for_each(look);
                    ObjectKind::TlsRoute
                }
                Resource::TcpRoute(route) => {
                    targets(&route.action).map(config::Key::backend).for_each(look);
                    ObjectKind::TcpRoute
                }
                Resource::UdpRoute(route) => {
                    targets(&route.action).map(config::Key::udp_backend).for_each(look);
                    ObjectKind::UdpRoute
                }
                Resource::Certificate(_)
                | Resource::Secret(_)
                | Resource::ConfigMap(_)
                | Resource::Backend(_)
                | Resource::Endpoints(_)
                | Resource::SecurityPolicy(_)
                | Resource::BackendTrafficPolicy(_)
                | Resource::Workload(_)
                | Resource::Listener(_) => continue,
            };
            found.dedup_by(|a, b| std::ptr::eq(*a, *b));
            let problems = found.iter().map(|rejection| RouteProblem {
                condition: condition_type::RESOLVED_REFS,
                reason: reason::INVALID_BACKEND,
                message: &rejection.message,
            });
            let key = ObjectKey::new(kind, key.namespace.as_str(), key.name.as_str());
            let problems: Vec<_> = problems.collect();
            if !problems.is_empty() {
                self.routes.entry(key).or_default().extend(problems);
            }
        }
    }
}

/// Calls `each` with every backend of a route.
fn uses(route: &config::HttpRoute, mut each: impl FnMut(config::Key)) {
    for rule in &route.rules {
        rule.policies.backends().into_iter().map(config::Key::backend).for_each(&mut each);
        targets(&rule.action).map(config::Key::backend).for_each(&mut each);
        let config::Action::Forward(shares) = &rule.action else { continue };
        for share in shares {
            share.policies.backends().into_iter().map(config::Key::backend).for_each(&mut each);
        }
    }
}

/// The backends of an action itself.
fn targets(action: &config::Action) -> impl Iterator<Item = &policies::BackendRef> {
    let shares = match action {
        config::Action::Forward(shares) => shares.as_slice(),
        config::Action::Fail { .. } => &[],
    };
    shares.iter().filter_map(|share| match &share.target {
        Target::Backend(backend) => Some(backend),
        Target::Invalid { .. } => None,
    })
}

/// Adds a proxy's complaint to what is already said.
fn reject(conditions: &mut Conditions, problem: &RouteProblem<'_>) {
    let generation = conditions.first().and_then(|condition| condition.observed_generation);
    if problem.condition == condition_type::PARTIALLY_INVALID {
        // Gateway API: "This condition MUST NOT be set if a Route is fully valid, fully invalid, or not accepted."
        let accepted = find(conditions, condition_type::ACCEPTED).map(|accepted| accepted.status);
        if accepted != Some(ConditionStatus::True) {
            return;
        }
        let message = format!("Dropped Rule: {}", problem.message);
        let message = match find(conditions, problem.condition) {
            Some(old) => format!("{} {message}", old.message),
            None => message,
        };
        let status = ConditionStatus::True;
        return set(
            conditions,
            Condition::new(problem.condition, status, problem.reason, message, generation),
        );
    }
    if let Some(condition) = find(conditions, problem.condition) {
        let (reason, message) = match condition.status {
            ConditionStatus::False => {
                (condition.reason, format!("{}; {}", condition.message, problem.message))
            }
            ConditionStatus::True | ConditionStatus::Unknown => (problem.reason, problem.message.to_owned()),
        };
        *condition = Condition::new(problem.condition, ConditionStatus::False, reason, message, generation);
    }
    if problem.condition == condition_type::ACCEPTED {
        conditions.retain(|condition| condition.r#type != condition_type::PARTIALLY_INVALID);
    }
}

/// What came of the listeners of one object.
#[derive(Debug, Default)]
struct Served {
    count: usize,
    failed: Vec<String>,
}

/// Fills in `Programmed` of listeners. `gateway`: the object of their Gateway; `prefix`: what stands before their names
/// in their sections.
fn program_listeners(
    listeners: &mut [ListenerStatus],
    (gateway, prefix): (&ObjectKey, &str),
    translation: &Translation,
    rejections: &Rejections<'_>,
) -> Served {
    let mut served = Served::default();
    for listener in listeners {
        if listener.is_capture {
            let is_live = find(&mut listener.conditions, condition_type::PROGRAMMED)
                .is_some_and(|programmed| programmed.status == ConditionStatus::Unknown);
            if is_live {
                confirm(&mut listener.conditions, "The waypoint serves the Services it stands in front of.");
                served.count += 1;
            }
            continue;
        }
        let name = format!("{}/{prefix}{}", gateway.name, listener.name);
        let resource = config::Key::new(Kind::Listener, &*gateway.namespace, name.as_str());
        let Some(Resource::Listener(config)) = translation.resources.get(&resource).map(Arc::as_ref) else {
            continue;
        };
        let secrets = config.tls.iter().flat_map(|tls| &tls.certificates);
        let (bad, all): (Vec<&Rejection>, usize) = secrets.fold((Vec::new(), 0), |(mut bad, all), secret| {
            bad.extend(rejections.certificates.get(secret));
            (bad, all + 1)
        });
        let conditions = &mut listener.conditions;
        if let Some(rejection) = bad.first() {
            deny(
                conditions,
                condition_type::RESOLVED_REFS,
                reason::INVALID_CERTIFICATE_REF,
                &rejection.message,
            );
        }
        let refused = rejections
            .listeners
            .get(&(&*gateway.namespace, name.as_str()))
            .copied()
            .filter(|rejection| rejection.severity == Severity::Refused)
            .or_else(|| bad.first().copied().filter(|_| bad.len() == all));
        if let Some(rejection) = refused {
            deny(conditions, condition_type::PROGRAMMED, reason::INVALID, &rejection.message);
            served.failed.push(format!("listener {}: {}", listener.name, rejection.message));
        } else {
            confirm(conditions, "The proxies serve this listener.");
            served.count += 1;
        }
    }
    served
}

fn program_gateway(
    key: &ObjectKey,
    gateway: &mut GatewayStatus,
    in_sets: usize,
    translation: &Translation,
    rejections: &Rejections<'_>,
) {
    let served = program_listeners(&mut gateway.listeners, (key, ""), translation, rejections);
    program_whole(&mut gateway.conditions, "Gateway", &served, in_sets);
}

/// Returns how many of its listeners are served.
fn program_listener_set(
    key: &ObjectKey,
    set: &mut ListenerSetStatus,
    translation: &Translation,
    rejections: &Rejections<'_>,
) -> usize {
    let prefix = format!("{}/{}/", key.namespace, key.name);
    let served =
        program_listeners(&mut set.listeners, (&set.gateway, prefix.as_str()), translation, rejections);
    program_whole(&mut set.conditions, "ListenerSet", &served, 0);
    served.count
}

/// Fills in `Programmed` of an object with listeners, if it waits for the proxies. `elsewhere`: listeners of other
/// objects that keep it programmed.
fn program_whole(conditions: &mut Conditions, kind: &str, served: &Served, elsewhere: usize) {
    let programmed = find(conditions, condition_type::PROGRAMMED);
    if !programmed
        .is_some_and(|condition| condition.status == ConditionStatus::Unknown && condition.message == WAITING)
    {
        return;
    }
    if served.count + elsewhere == 0 {
        deny(conditions, condition_type::PROGRAMMED, reason::INVALID, &served.failed.join("; "));
    } else if served.failed.is_empty() {
        confirm(conditions, format!("The proxies serve this {kind}."));
    } else {
        let message = format!("The proxies serve this {kind}, but not {}", served.failed.join("; "));
        confirm(conditions, message);
    }
}

fn program_service(key: &ObjectKey, conditions: &mut Conditions, rejections: &Rejections<'_>) {
    let prefix = format!("{}:", key.name);
    let refused: Vec<_> = rejections
        .listeners
        .iter()
        .filter(|((namespace, name), _)| *namespace == &*key.namespace && name.starts_with(&prefix))
        .filter(|(_, rejection)| rejection.severity == Severity::Refused)
        .map(|((_, name), rejection)| format!("{name}: {}", rejection.message))
        .collect();
    let Some(condition) = find(conditions, condition_type::WAYPOINT_BOUND) else { return };
    if condition.status != ConditionStatus::Unknown {
        return;
    }
    if refused.is_empty() {
        condition.status = ConditionStatus::True;
        condition.reason = reason::BOUND;
        let listeners = condition.message.trim_start_matches(WAITING).trim_start().to_owned();
        condition.message = listeners.into();
    } else {
        condition.status = ConditionStatus::False;
        condition.reason = reason::INVALID;
        condition.message = refused.join("; ").into();
    }
}

/// Fills in `Enforced` of a policy where proxies have answered.
fn program_policy(
    key: &ObjectKey,
    policy: &mut PolicyStatus,
    rejections: &Rejections<'_>,
    applied: impl Fn(&ObjectKey) -> bool,
) {
    let rejection = rejections.policies.get(key);
    for ancestor in &mut policy.ancestors {
        let kind = match ancestor.ancestor_ref.kind.as_deref() {
            Some("Service") => ObjectKind::Service,
            _ => ObjectKind::Gateway,
        };
        let namespace = ancestor.ancestor_ref.namespace.as_deref().unwrap_or_default();
        let is_applied = applied(&ObjectKey::new(kind, namespace, ancestor.ancestor_ref.name.as_str()));
        let Some(enforced) = find(&mut ancestor.conditions, condition_type::ENFORCED) else { continue };
        if enforced.status != ConditionStatus::Unknown {
            continue;
        }
        if let Some(rejection) = rejection {
            enforced.status = ConditionStatus::False;
            enforced.reason = reason::INVALID;
            enforced.message = rejection.message.clone().into();
        } else if is_applied {
            enforced.status = ConditionStatus::True;
            enforced.reason = reason::ENFORCED;
            enforced.message = "The proxies enforce the policy.".into();
        }
    }
}

fn deny(conditions: &mut Conditions, r#type: &'static str, reason: &'static str, message: &str) {
    let generation = conditions.first().and_then(|condition| condition.observed_generation);
    set(conditions, Condition::new(r#type, ConditionStatus::False, reason, message.to_owned(), generation));
}

fn confirm(conditions: &mut Conditions, message: impl Into<std::borrow::Cow<'static, str>>) {
    let generation = conditions.first().and_then(|condition| condition.observed_generation);
    let (r#type, status) = (condition_type::PROGRAMMED, ConditionStatus::True);
    set(conditions, Condition::new(r#type, status, reason::PROGRAMMED, message, generation));
}
