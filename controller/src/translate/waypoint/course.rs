//! By which waypoint a Service is served, or why it is by none.

use config::{Key, Kind};

use super::wish::{AUTO_NAME, Extent, USE_WAYPOINT, Wish, asked_failure_mode};
use super::{Around, FailureMode, lock, preflight};
use crate::ObjectKey;
use crate::api::Service;
use crate::resources::{Named as _, ObjectKind};
use crate::status::reason;
use crate::translate::attached::distinct;
use crate::translate::gateway::Gateway;
use crate::translate::parameters::WAYPOINT_CLASS;

/// By which waypoint a Service is served, and why it is to be let go.
pub(super) struct Course {
    pub(super) waypoint: (Box<str>, Box<str>),
    pub(super) refusal: Option<(&'static str, String)>,
    pub(super) notes: Vec<String>,
    pub(super) failure_mode: FailureMode,
}

pub(super) fn course(
    service: &Service,
    wish: Option<&Wish>,
    of_service: &[Key],
    around: &Around<'_>,
) -> Course {
    let key = ObjectKey::new(ObjectKind::Service, service.namespace(), service.name());
    let before = around.slices.waypoint(&key).filter(|_| around.options.is_cluster);
    let Some(wish) = wish else {
        let waypoint = before.unwrap_or_else(|| (service.namespace().into(), AUTO_NAME.into()));
        let refusal = Some((reason::NOT_CAPTURED, "Nothing asks for a waypoint any more.".to_owned()));
        let failure_mode = failure_mode(service, &attached_at(&waypoint, of_service, around), around);
        return Course { waypoint, refusal, notes: Vec::new(), failure_mode };
    };
    let waypoint = (wish.namespace.clone(), wish.name.clone());
    let failure_mode = failure_mode(service, &attached_at(&waypoint, of_service, around), around);
    // Its pods know nothing of the other's ports, and clients would be led to nobody.
    let Some(before) =
        before.filter(|before| *before != waypoint && gateway(&before.0, &before.1, around).is_some())
    else {
        let refusal = refusal(service, wish, around);
        return Course { waypoint, refusal, notes: Vec::new(), failure_mode };
    };
    let (to, from) = (shown(&waypoint), shown(&before));
    let (refusal, note) = match failure_mode {
        FailureMode::Open => {
            let message = format!("It moves to Gateway {to}: first Gateway {from} lets it go.");
            (Some((reason::RELEASING, message)), None)
        }
        // Between the two nothing would be enforced.
        FailureMode::Closed => {
            let note = format!(
                "It stays at Gateway {from}: to move it to Gateway {to}, label it {USE_WAYPOINT}: none in between."
            );
            (None, Some(note))
        }
    };
    Course { waypoint: before, refusal, notes: note.into_iter().collect(), failure_mode }
}

/// The policies about a Service, with those about its waypoint's Gateway before them.
pub(super) fn attached_at(
    waypoint: &(Box<str>, Box<str>),
    of_service: &[Key],
    around: &Around<'_>,
) -> Vec<Key> {
    let gateway = gateway(&waypoint.0, &waypoint.1, around).filter(|_| around.options.is_cluster);
    let general =
        gateway.into_iter().flat_map(|gateway| &gateway.listeners).flat_map(|listener| &listener.attached);
    distinct(general.chain(of_service))
}

/// What becomes of clients without a usable waypoint.
fn failure_mode(service: &Service, attached: &[Key], around: &Around<'_>) -> FailureMode {
    match asked_failure_mode(service) {
        // Clients that are led back to pods would not be let in.
        _ if lock::is_on(service, around) => FailureMode::Closed,
        Some("open") => FailureMode::Open,
        Some("closed") => FailureMode::Closed,
        // What somebody has a say about must not be reached around it.
        _ if attached.iter().any(|key| key.kind == Kind::SecurityPolicy) => FailureMode::Closed,
        _ => FailureMode::Open,
    }
}

/// The Gateway of a waypoint, if it is one.
fn gateway<'a>(namespace: &str, name: &str, around: &Around<'a>) -> Option<&'a Gateway> {
    let gateway = around.gateways.find(namespace, name).and_then(|slot| around.gateways.get(slot));
    gateway.filter(|gateway| gateway.is_waypoint)
}

fn shown((namespace, name): &(Box<str>, Box<str>)) -> String {
    format!("{namespace}/{name}")
}

/// Reason and message why a Service is not captured although it is asked for.
fn refusal(service: &Service, wish: &Wish, around: &Around<'_>) -> Option<(&'static str, String)> {
    let is_cluster = around.options.is_cluster;
    let key = ObjectKey::new(ObjectKind::Service, service.namespace(), service.name());
    if let Some(refusal) = preflight::refusal(service, around.slices.has_foreign(&key), is_cluster) {
        return Some(refusal);
    }
    if let Some(refusal) = preflight::isolation(service, around.now).filter(|_| is_cluster) {
        return Some(refusal);
    }
    if wish.extent == Extent::Observe {
        let message =
            "Nothing speaks against a waypoint in front of it; fairway.dev/capture: observe keeps it away.";
        return Some((reason::OBSERVED, message.to_owned()));
    }
    if !is_cluster {
        return None;
    }
    let Wish { namespace, name, .. } = wish;
    let Some(gateway) = gateway(namespace, name, around) else {
        let message = format!("There is no Gateway {namespace}/{name} of class {WAYPOINT_CLASS}.");
        return Some((reason::NO_WAYPOINT, message));
    };
    let labels = around.now.namespaces.get("", service.namespace());
    let labels = labels.and_then(|namespace| namespace.metadata.labels.as_ref());
    let mut live = gateway.listeners.iter().filter(|listener| listener.is_live).peekable();
    if live.peek().is_none() {
        let message =
            format!("Gateway {namespace}/{name} is not accepted, or is being deleted: see its status.");
        return Some((reason::NO_WAYPOINT, message));
    }
    if !live.any(|listener| listener.namespaces.allow(namespace, service.namespace(), labels)) {
        let message = format!(
            "Gateway {namespace}/{name} takes no Services of namespace {}: see allowedRoutes.namespaces of its listener.",
            service.namespace()
        );
        return Some((reason::NOT_ALLOWED, message));
    }
    None
}
