//! What is served, for people: tables of listeners and routes, and requests to try.

mod curl;

use std::collections::BTreeSet;

use config::{Action, Key, Kind, Listener, Parent, Resource, Resources, Scope, Target};
use controller::status::{Condition, ConditionStatus, GatewayStatus, ListenerSetStatus, Status};
use controller::{ObjectKey, ObjectKind, Statuses};

use crate::table::{aligned, short};
use crate::view::{actions_of, listener_of, parents_of};

/// Rows per table.
const ROWS: usize = 30;

/// Everything.
pub(crate) fn overview(resources: &Resources, statuses: &Statuses, ca: &str) -> String {
    let mut text = table(
        &["LISTENER", "ADDRESS", "PROTOCOL", "HOSTNAME", "ROUTES", "STATUS"],
        listeners(resources, statuses),
    );
    text.push('\n');
    text.push_str(&table(
        &["ROUTE", "PARENTS", "HOSTNAMES", "RULES", "BACKENDS", "STATUS"],
        routes(resources, statuses),
    ));
    let others = others(statuses);
    if !others.is_empty() {
        text.push('\n');
        text.push_str(&table(&["OBJECT", "STATUS"], others));
    }
    let curls = curl::lines(resources, ca);
    if !curls.is_empty() {
        text.push_str("\nTry it:\n");
        for line in curls {
            text.push_str(&format!("  {line}\n"));
        }
    }
    text
}

fn table(heading: &[&str], mut rows: Vec<Vec<String>>) -> String {
    let more = rows.len().saturating_sub(ROWS);
    rows.truncate(ROWS);
    rows.insert(0, heading.iter().map(|cell| (*cell).to_owned()).collect());
    let mut text = aligned(&rows);
    if more > 0 {
        text.push_str(&format!("and {more} more\n"));
    }
    text
}

fn listeners(resources: &Resources, statuses: &Statuses) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for (object, status) in &statuses.0 {
        // Proxies know the listeners of a ListenerSet as sections of its Gateway.
        let (gateway, prefix, listeners) = match &**status {
            Status::Gateway(gateway) => (object, String::new(), &gateway.listeners),
            Status::ListenerSet(set) => {
                (&set.gateway, format!("{}/{}/", object.namespace, object.name), &set.listeners)
            }
            Status::GatewayClass(_)
            | Status::Route(_)
            | Status::Policy(_)
            | Status::Service(_)
            | Status::Rollout(_) => continue,
        };
        for one in listeners {
            let section = format!("{}/{prefix}{}", gateway.name, one.name);
            let key = Key::new(Kind::Listener, &*gateway.namespace, section);
            let name = format!("{}/{}/{}", object.namespace, object.name, one.name);
            let spec = resources.get(&key).and_then(|resource| listener_of(resource));
            let protocol = spec.map_or("-".into(), protocol);
            let hostname =
                spec.map_or("-".into(), |spec| spec.hostname.clone().unwrap_or_else(|| "*".into()));
            let address = spec.map_or("-".into(), address);
            rows.push(vec![
                name,
                address,
                protocol,
                hostname,
                one.attached_routes.to_string(),
                conditions(&one.conditions),
            ]);
        }
    }
    for (key, resource) in resources {
        let Resource::Listener(spec) = &**resource else { continue };
        let Scope::Service(captured) = &spec.scope else { continue };
        let service = &captured.backend;
        let parent = Parent::Service(captured.clone());
        let attached = resources.values().filter(|resource| parents_of(resource).contains(&parent)).count();
        let status =
            statuses.0.get(&ObjectKey::new(ObjectKind::Service, &*service.namespace, &*service.name));
        let status = status.and_then(|status| status.conditions().first().map(|(_, c)| conditions(c)));
        let name = format!("waypoint {}/{}", key.namespace, key.name);
        rows.push(vec![
            name,
            address(spec),
            protocol(spec),
            "*".into(),
            attached.to_string(),
            status.unwrap_or_else(|| "-".into()),
        ]);
    }
    rows
}

fn protocol(listener: &Listener) -> String {
    format!("{:?}", listener.protocol).to_ascii_uppercase()
}

fn address(listener: &Listener) -> String {
    match listener.address {
        Some(ip) => std::net::SocketAddr::new(ip, listener.port).to_string(),
        None => format!("*:{}", listener.port),
    }
}

fn routes(resources: &Resources, statuses: &Statuses) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for (object, status) in &statuses.0 {
        let Status::Route(status) = &**status else { continue };
        let Some(kind) = object.kind.route() else { continue };
        let route = resources.get(&Key::new(kind, &*object.namespace, &*object.name));
        let parents: Vec<String> =
            status.parents.iter().map(|parent| parent.parent_ref.to_string()).collect();
        let all: Vec<Condition> =
            status.parents.iter().flat_map(|parent| parent.conditions.clone()).collect();
        rows.push(vec![
            format!("{}/{}/{}", object.kind.as_str(), object.namespace, object.name),
            short(&parents, 2),
            short(&route.map(|route| hostnames(route)).unwrap_or_default(), 2),
            route.map_or(0, |route| actions_of(route).len()).to_string(),
            short(&route.map(|route| backends(route)).unwrap_or_default(), 2),
            conditions(&all),
        ]);
    }
    rows
}

fn hostnames(route: &Resource) -> Vec<String> {
    let mut all: BTreeSet<String> = BTreeSet::new();
    for parent in parents_of(route) {
        if let Parent::Listener { hostnames, .. } = parent {
            all.extend(hostnames.iter().cloned());
        }
    }
    all.into_iter().collect()
}

/// Each with its port; weights are `explain`'s.
fn backends(route: &Resource) -> Vec<String> {
    let mut all = Vec::new();
    for action in actions_of(route) {
        let Action::Forward(backends) = action else { continue };
        for backend in backends {
            let Target::Backend(reference) = &backend.target else { continue };
            let name = format!("{}:{}", reference.name, reference.port);
            if !all.contains(&name) {
                all.push(name);
            }
        }
    }
    all
}

/// Statuses of the other kinds.
fn others(statuses: &Statuses) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for (object, status) in &statuses.0 {
        if object.kind.route().is_some() {
            continue;
        }
        let all: Vec<Condition> = if let Status::Gateway(GatewayStatus { conditions, .. })
        | Status::ListenerSet(ListenerSetStatus { conditions, .. }) = &**status
        {
            // Their listeners are told with the listeners.
            conditions.clone()
        } else {
            status.conditions().into_iter().flat_map(|(_, conditions)| conditions.clone()).collect()
        };
        rows.push(vec![object.to_string(), conditions(&all)]);
    }
    rows
}

/// Types that hold, then those that do not, with the reason.
fn conditions(all: &[Condition]) -> String {
    let mut good: Vec<&str> = Vec::new();
    let mut wrong = Vec::new();
    for condition in all {
        if crate::findings::is_wrong(condition) || condition.status == ConditionStatus::Unknown {
            let text = format!("{}={:?} ({})", condition.r#type, condition.status, condition.reason);
            if !wrong.contains(&text) {
                wrong.push(text);
            }
        } else if condition.status == ConditionStatus::True && !good.contains(&condition.r#type) {
            good.push(condition.r#type);
        }
    }
    good.retain(|name| !wrong.iter().any(|text| text.starts_with(name)));
    let parts: Vec<String> = good.into_iter().map(str::to_owned).chain(wrong).collect();
    if parts.is_empty() { "-".into() } else { parts.join(" ") }
}
