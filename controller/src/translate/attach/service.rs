//! Where a route stands whose parent is a Service: at ports of it that a waypoint listens for (GAMMA).

use super::{At, Place, Surroundings};
use crate::resources::ObjectKind;
use crate::status::{ParentRef, Problem, reason};
use crate::translate::facts::Fact;
use crate::translate::listener_kinds::Kinds;
use crate::translate::route::Route;
use crate::translate::waypoint::{Captured, Port, USE_WAYPOINT, opts_in};

impl Surroundings<'_> {
    /// The captured Service ports a route stands at. Host names of requests play no part there (GEP-1294).
    pub(super) fn service<T: Route>(&self, route: &T, parent: &ParentRef) -> Result<Vec<Place>, Problem> {
        let namespace = parent.namespace.as_deref().unwrap_or_else(|| route.namespace());
        let name = parent.name.as_str();
        let is_consumer = namespace != route.namespace();
        self.may_stand(route, (namespace, name), is_consumer)?;
        let (index, captured, ports) = self.captured(namespace, name)?;
        let consumer = match (is_consumer, self.capture.consumer(route.namespace())) {
            (false, _) => None,
            (true, Some(consumer)) => Some(consumer),
            // It would stand for everybody.
            (true, None) => return Ok(Vec::new()),
        };
        let section = parent.section_name.as_deref().filter(|section| !section.is_empty());
        let named: Vec<_> = (ports.iter().enumerate())
            .filter(|(_, port)| section.is_none_or(|section| port.name.as_deref() == Some(section)))
            .filter(|(_, port)| parent.port.is_none_or(|wanted| wanted == i32::from(port.port)))
            .collect();
        let hostnames = if T::IS_STREAM { route.common_hostnames(None) } else { vec!["*".to_owned()] };
        let place = |port| match consumer {
            Some(consumer) => At::Consumer(index, port, consumer),
            None => At::Port(index, port),
        };
        let places: Vec<_> = (named.iter())
            .filter(|(_, port)| Kinds::of(port.protocol, true).allow(T::KIND))
            .map(|(at, _)| (place(*at), hostnames.clone()))
            .collect();
        if !places.is_empty() {
            return Ok(places);
        }
        let whose = format!("Service {}/{}", captured.namespace, captured.name);
        Err(if named.is_empty() {
            let message = format!("parentRefs: {whose} has no such port that a waypoint serves");
            Problem::accepted(reason::NO_MATCHING_PARENT, message)
        } else {
            // GEP-1294: of several kinds at one port the more specific stands.
            let message = format!(
                "parentRefs: {whose}: no port carries what a {} is about: its appProtocol, or a route of another kind, \
                 says otherwise",
                T::KIND.as_str()
            );
            Problem::accepted(reason::CONFLICTED, message)
        })
    }

    /// Whether routes of a kind can stand at a Service at all, and those of this namespace.
    fn may_stand<T: Route>(
        &self,
        route: &T,
        (namespace, name): (&str, &str),
        is_consumer: bool,
    ) -> Result<(), Problem> {
        let (kind, whose) = (T::KIND.as_str(), format!("parentRefs: Service {namespace}/{name}"));
        if !T::IN_MESH {
            return Err(Problem::unsupported(format!("{whose}: a waypoint takes no {kind}: name a Gateway")));
        }
        if !is_consumer {
            return Ok(());
        }
        if T::IS_STREAM {
            return Err(Problem::unsupported(format!(
                "{whose} is in another namespace, and whole connections are not told apart by who opens them: put the \
                 {kind} into namespace {namespace}"
            )));
        }
        self.cluster.note(Fact::object(ObjectKind::Namespace, "", route.namespace()));
        // What is done for its callers costs another namespace's waypoint.
        if !opts_in(route.namespace(), self.cluster.resources) {
            let message = format!(
                "{whose} is in another namespace: label namespace {} with {USE_WAYPOINT} to have its callers' requests \
                 routed there",
                route.namespace()
            );
            return Err(Problem::accepted(reason::NOT_CAPTURED, message));
        }
        Ok(())
    }

    /// The Service of a name, if a waypoint stands in front of it: its number, and its ports.
    fn captured(&self, namespace: &str, name: &str) -> Result<(usize, &Captured, &[Port]), Problem> {
        self.cluster.note(Fact::object(ObjectKind::Service, namespace, name));
        let whose = format!("Service {namespace}/{name}");
        if self.cluster.resources.services.get(namespace, name).is_none() {
            let message = format!("parentRefs: {whose} does not exist");
            return Err(Problem::accepted(reason::NO_MATCHING_PARENT, message));
        }
        let Some((index, captured)) = self.capture.find(namespace, name) else {
            let message = format!(
                "parentRefs: no waypoint stands in front of {whose}: label it, or its namespace, with {USE_WAYPOINT}"
            );
            return Err(Problem::accepted(reason::NOT_CAPTURED, message));
        };
        match (&captured.ports, &captured.refusal) {
            (Ok(ports), None) => Ok((index, captured, ports)),
            (Err((_, message)), _) | (_, Some((_, message))) => {
                Err(Problem::unsupported(format!("parentRefs: {whose}: {message}")))
            }
        }
    }
}
