//! TLSRoute, TCPRoute and UDPRoute: where their fields are, and what their one rule means.

use config::{Action, Key, Kind, Parent, Resource, StreamRoute};
use gateway_api::experimental::tcproutes::TcpRouteUseDefaultGateways;
use gateway_api::experimental::tlsroutes::TlsRouteUseDefaultGateways;

use super::backend_ref::Reference;
use super::filter::reference;
use super::route::{Route, Verdict, parent_ref};
use super::rule::{self, Backend, Context};
use crate::api::{TcpRoute, TlsRoute, UdpRoute};
use crate::resources::ObjectKind;
use crate::status::{ParentRef, Problem};

/// A rule as the user wrote it: its name and its backends.
type Source<'a> = (Option<&'a str>, Vec<Backend<'a>>);

/// A rule, translated: its name and where connections go.
type Rule = (Option<String>, Action);

macro_rules! stream_route {
    ($kind:ident, $default_gateways:ident, in_mesh: $in_mesh:literal, { $($hostnames:tt)* }) => {
        impl Route for $kind {
            const KIND: ObjectKind = ObjectKind::$kind;
            const RESOURCE_KIND: Kind = Kind::$kind;
            const IN_MESH: bool = $in_mesh;
            const IS_STREAM: bool = true;
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

            fn resource(created: i64, parents: Vec<Parent>, _: Vec<Key>, (rule, action): Rule) -> Resource {
                Resource::$kind(StreamRoute { created, parents, rule, action })
            }
        }
    };
}

stream_route!(TlsRoute, TlsRouteUseDefaultGateways, in_mesh: true, {
    fn hostnames(&self) -> &[String] {
        &self.spec.hostnames
    }
});

// These know no host names: where a listener has routes that name some, they take the rest.
stream_route!(TcpRoute, TcpRouteUseDefaultGateways, in_mesh: true, {
    fn hostnames(&self) -> &[String] {
        &[]
    }

    fn common_hostnames(&self, _listener: Option<&str>) -> Vec<String> {
        vec!["*".to_owned()]
    }
});
stream_route!(UdpRoute, TcpRouteUseDefaultGateways, in_mesh: false, {
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
