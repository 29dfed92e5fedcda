//! TLSRoute, TCPRoute and UDPRoute: where their fields are, and what their one rule means.

use config::{Action, Kind, Parent, Resource, StreamRoute};
use gateway_api::experimental::tcproutes::TcpRouteUseDefaultGateways;
use gateway_api::experimental::tlsroutes::TlsRouteUseDefaultGateways;
use rustc_hash::FxHashMap;

use super::attach::At;
use super::backend_ref::Reference;
use super::filter::reference;
use super::route::{Memory, Route, Verdict, parent_ref};
use super::rule::{self, Backend, Context};
use crate::api::{TcpRoute, TlsRoute, UdpRoute};
use crate::resources::ObjectKind;
use crate::status::{ParentRef, Problem};

/// A rule as the user wrote it: its name and its backends.
type Source<'a> = (Option<&'a str>, Vec<Backend<'a>>);

/// A rule, translated: its name and where connections go.
type Rule = (Option<String>, Action);

macro_rules! stream_route {
    ($kind:ident, $default_gateways:ident, { $($hostnames:tt)* }) => {
        impl Route for $kind {
            const KIND: ObjectKind = ObjectKind::$kind;
            const RESOURCE_KIND: Kind = Kind::$kind;
            const IN_MESH: bool = false;
            type Rules = Rule;

            fn has_same_spec(&self, other: &Self) -> bool {
                self.spec == other.spec
            }

            $($hostnames)*

            fn parents(&self) -> Vec<ParentRef> {
                self.spec.parent_refs.iter().flatten().map(|parent| parent_ref!(parent)).collect()
            }

            fn wants_default_gateways(&self) -> bool {
                self.spec.use_default_gateways == Some($default_gateways::All)
            }

            fn rules(&self, cx: &mut Context<'_, '_>) -> (Rule, Verdict) {
                let rules = self.spec.rules.iter().map(|rule| -> Source<'_> {
                    let backends = rule.backend_refs.iter().map(|backend| Backend {
                        reference: reference!(backend),
                        weight: backend.weight,
                        filters: Vec::new(),
                    });
                    (rule.name.as_deref(), backends.collect())
                });
                only(rules.collect(), cx)
            }

            fn resource(created: i64, parents: Vec<Parent>, (rule, action): Rule) -> Resource {
                Resource::$kind(StreamRoute { created, parents, rule, action })
            }
        }
    };
}

stream_route!(TlsRoute, TlsRouteUseDefaultGateways, {
    fn hostnames(&self) -> &[String] {
        &self.spec.hostnames
    }
});

// These know no host names: where a listener has routes that name some, they take the rest.
stream_route!(TcpRoute, TcpRouteUseDefaultGateways, {
    fn hostnames(&self) -> &[String] {
        &[]
    }

    fn common_hostnames(&self, _listener: Option<&str>) -> Vec<String> {
        vec!["*".to_owned()]
    }
});
stream_route!(UdpRoute, TcpRouteUseDefaultGateways, {
    fn hostnames(&self) -> &[String] {
        &[]
    }

    fn common_hostnames(&self, _listener: Option<&str>) -> Vec<String> {
        vec!["*".to_owned()]
    }
});

/// Translates the rule of a route. Gateway API takes exactly one; so did not every version of it.
fn only(mut rules: Vec<Source<'_>>, cx: &mut Context<'_, '_>) -> (Rule, Verdict) {
    let count = rules.len();
    let (Some((name, backends)), true) = (rules.pop(), count == 1) else {
        let message = format!("rules: there are {count}: exactly one is needed, make a route of each other");
        let problems = vec![Problem::unsupported(message.clone())];
        return ((None, Action::Fail { message }), Verdict { problems, is_invalid: true });
    };
    let (mut problems, shares) = (Vec::new(), backends.len());
    let (backends, broken) = rule::backends(backends, true, &mut problems, cx);
    let problems = problems.into_iter().map(|problem: Problem| problem.at("rules[0].")).collect();
    let is_invalid = broken > 0 && broken == shares;
    ((name.map(str::to_owned), Action::Forward(backends)), Verdict { problems, is_invalid })
}

/// Notes in `outranked` where routes of one kind want the same connections. Gateway API: of several "only the oldest
/// route is attached to the listener", then the first by `namespace/name`; all stay `Accepted` and are counted.
pub(crate) fn rank<T: Route>(routes: &mut Memory<T>) {
    let mut first: FxHashMap<(At, &str), &T> = FxHashMap::default();
    let mut outranked: Vec<Vec<(usize, String)>> = Vec::with_capacity(routes.entries.len());
    for entry in &routes.entries {
        let mut of_route = Vec::new();
        for (index, candidate) in entry.survivors() {
            let names = candidate.hostnames.iter().map(|hostname| (candidate.at, hostname.as_str()));
            // Every name is taken by whoever comes first, also where another of its names has gone to somebody else.
            let owners = names.map(|place| *first.entry(place).or_insert(&entry.object));
            let others: Vec<&T> = owners.filter(|owner| !std::ptr::eq(*owner, &*entry.object)).collect();
            if let Some(owner) = others.first() {
                let name = format!("{} {}/{}", T::KIND.as_str(), owner.namespace(), owner.name());
                of_route.push((index, name));
            }
        }
        outranked.push(of_route);
    }
    for (entry, outranked) in routes.entries.iter_mut().zip(outranked) {
        entry.outranked = outranked;
    }
}
