//! Policies and requests at random: the compiled form decides as a plain reading of the rules does.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod docs;
mod naive;

use std::sync::Arc;

use fairway_policies::authorization::{
    Action, Authorization, AuthorizationFilter, Certificates, ClaimCondition, HeaderCondition, JwtPrincipal,
    Operation, PathCondition, PathType, Principal, Rule, ServiceAccount, ValueType,
};
use fairway_policies::caller::{Assurance, Caller, Peer, PeerName, Token, Workload};
use fairway_policies::mode::Mode;
use fairway_policies::{BackendRef, Context, Filter, Lookup, Policy, Request, Upstream, Verdict};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

struct Nothing;

impl Lookup for Nothing {
    fn backend(&self, _: &BackendRef) -> Option<Arc<dyn Upstream>> {
        None
    }
}

/// Some of these, or no list.
fn some(of: &'static [&'static str]) -> impl Strategy<Value = Option<Vec<String>>> {
    let list = subsequence(of, 1..=of.len()).prop_map(|list| list.into_iter().map(str::to_owned).collect());
    option::weighted(0.2, list)
}

fn maybe<T: Clone + std::fmt::Debug + 'static>(of: &[T]) -> impl Strategy<Value = Option<T>> + use<T> {
    option::weighted(0.7, select(of.to_vec()))
}

fn paths() -> impl Strategy<Value = Option<Vec<PathCondition>>> {
    let path = select(vec![
        (PathType::PathPrefix, "/"),
        (PathType::PathPrefix, "/a"),
        (PathType::PathPrefix, "/a/b/"),
        (PathType::Exact, "/a"),
        (PathType::Exact, "/a/"),
        (PathType::Exact, "/a/b"),
        (PathType::Template, "/{x}/b"),
        (PathType::Template, "/a/{x}/**"),
        (PathType::Template, "/**"),
    ]);
    let path = path.prop_map(|(kind, value)| PathCondition { kind, value: value.to_owned() });
    option::weighted(0.2, prop::collection::vec(path, 1..3))
}

fn headers() -> impl Strategy<Value = Option<Vec<HeaderCondition>>> {
    let header =
        (select(vec!["x-a", "x-b"]), some(&["a", "b"]), some(&["b", "c"])).prop_map(|(name, values, not)| {
            let values = if not.is_none() { values.or(Some(vec!["a".to_owned()])) } else { values };
            HeaderCondition { name: name.to_owned(), values, not_values: not }
        });
    option::weighted(0.15, prop::collection::vec(header, 1..3))
}

fn accounts() -> impl Strategy<Value = Option<Vec<ServiceAccount>>> {
    let account =
        select(vec![("web", "bff"), ("web", "*"), ("shop", "cart")]).prop_map(|(namespace, name)| {
            ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() }
        });
    option::weighted(0.2, prop::collection::vec(account, 1..3))
}

fn certificates() -> impl Strategy<Value = Option<Certificates>> {
    const HASHES: [&str; 2] = [
        "0101010101010101010101010101010101010101010101010101010101010101",
        "0202020202020202020202020202020202020202020202020202020202020202",
    ];
    let names = prop_oneof![Just(vec!["a.test"]), Just(vec!["a.test", "b.test"])];
    (option::weighted(0.15, names), option::weighted(0.15, select(HASHES.to_vec()))).prop_map(
        |(names, hash)| {
            let list = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
            (names.is_some() || hash.is_some()).then(|| Certificates {
                dns_names: names.map(list),
                certificate_hashes: hash.map(|hash| vec![hash.to_owned()]),
                ..Certificates::default()
            })
        },
    )
}

fn jwt() -> impl Strategy<Value = Option<JwtPrincipal>> {
    let claim = (
        select(vec![
            ("s", ValueType::String),
            ("l", ValueType::StringArray),
            ("i", ValueType::Integer),
            ("b", ValueType::Boolean),
        ]),
        0u8..3,
        any::<bool>(),
    );
    let claim = claim.prop_map(|((name, value_type), which, both)| {
        let values: &[&str] = match value_type {
            ValueType::String | ValueType::StringArray => &["a", "b"],
            ValueType::Integer => &["1", "-2"],
            ValueType::Boolean => &["true", "false"],
        };
        let list = |at: usize| Some(vec![values[at].to_owned()]);
        ClaimCondition {
            name: name.to_owned(),
            value_type,
            values: if which < 2 { list(usize::from(which)) } else { None },
            not_values: if which == 2 || both { list(usize::from(both)) } else { None },
        }
    });
    let claims = option::weighted(0.6, prop::collection::vec(claim, 1..3));
    let jwt = (select(vec!["p", "q"]), claims, some(&["r", "w"])).prop_map(|(provider, claims, scopes)| {
        JwtPrincipal { provider: provider.to_owned(), claims, scopes }
    });
    option::weighted(0.25, jwt)
}

fn principal() -> impl Strategy<Value = Principal> {
    let assurance = vec![Assurance::Network, Assurance::Token, Assurance::Certificate];
    let network = (
        some(&["10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32"]),
        some(&["10.1.0.0/16", "::/0"]),
        (accounts(), accounts()),
        some(&["web", "shop"]),
        some(&["web", "shop"]),
        option::weighted(0.15, select(assurance)),
    );
    let identity = (
        some(&["spiffe://td/ns/web/sa/bff", "spiffe://td/ns/shop/*", "spiffe://td/*"]),
        some(&["spiffe://td/ns/web/*"]),
        (certificates(), certificates()),
        jwt(),
        headers(),
        (some(&["m", "n"]), some(&["n"]), some(&["ann", "bob"]), some(&["bob"])),
    );
    (network, identity).prop_map(|(network, identity)| {
        let (client_cidrs, not_client_cidrs, accounts, namespaces, not_namespaces, min_assurance) = network;
        let (spiffe, not_spiffe, certificates, jwt, headers, names) = identity;
        Principal {
            client_cidrs,
            not_client_cidrs,
            service_accounts: accounts.0,
            not_service_accounts: accounts.1,
            namespaces,
            not_namespaces,
            spiffe,
            not_spiffe,
            certificates: certificates.0,
            not_certificates: certificates.1,
            jwt,
            headers,
            api_clients: names.0,
            not_api_clients: names.1,
            users: names.2,
            not_users: names.3,
            min_assurance,
        }
    })
}

fn operation() -> impl Strategy<Value = Operation> {
    let hosts = || some(&["a.test", "*.a.test", "b.test"]);
    (some(&["GET", "PUT"]), some(&["PUT", "POST"]), paths(), paths(), hosts(), hosts(), headers()).prop_map(
        |(methods, not_methods, paths, not_paths, hosts, not_hosts, headers)| Operation {
            methods,
            not_methods,
            paths,
            not_paths,
            hosts,
            not_hosts,
            headers,
            grpc: None,
        },
    )
}

fn rule() -> impl Strategy<Value = Rule> {
    let action = prop_oneof![Just(Action::Allow), Just(Action::Deny)];
    let mode = prop_oneof![3 => Just(Mode::Enforce), 1 => Just(Mode::Shadow)];
    let when = option::weighted(0.2, select(vec!["true", "false", "request.headers['x-a'] == 'a'"]));
    (action, mode, option::of(principal()), option::of(operation()), when).prop_map(
        |(action, mode, principal, operation, when)| Rule {
            name: None,
            action,
            mode,
            principal,
            operation,
            when: when.map(str::to_owned),
        },
    )
}

fn policy() -> impl Strategy<Value = Authorization> {
    let default = prop_oneof![Just(Action::Allow), Just(Action::Deny)];
    (default, prop::collection::vec(rule(), 0..6)).prop_map(|(default_action, rules)| Authorization {
        default_action,
        rules,
        mode: Mode::Enforce,
    })
}

fn request() -> impl Strategy<Value = Request> {
    let line = (select(vec!["x-a", "x-b"]), select(vec!["a", "b", "c", "a, b"]));
    let path = select(vec![
        "/",
        "/a",
        "/a/",
        "/ab",
        "/a/b",
        "/a/b/c",
        "/c/b",
        "/%61/b",
        "/a%2Fb",
        "/a%2fb%5c",
        "/c%2F..%2Fa",
        "/a/%2F..%2F..%2Fc",
        "/a%252Fb",
        "/c?/a",
    ]);
    let host = select(vec!["a.test", "A.Test", "x.a.test", "b.test.", "c.test"]);
    (select(vec!["GET", "PUT", "POST"]), path, host, prop::collection::vec(line, 0..4)).prop_map(
        |(method, path, host, lines)| {
            let mut req = Request::build(method, path.as_bytes(), None).unwrap();
            req.insert_header("host", host).unwrap();
            for (name, value) in lines {
                req.append_header(name, value).unwrap();
            }
            req
        },
    )
}

fn token() -> impl Strategy<Value = Value> {
    let claims = (
        maybe(&[json!("a"), json!("b"), json!(["a"]), json!(1)]),
        maybe(&[json!(["a"]), json!(["a", "b"]), json!([]), json!("b"), json!([1, "a"])]),
        maybe(&[json!(1), json!(-2), json!(7), json!(1.5), json!("1")]),
        maybe(&[json!(true), json!(false), json!("true")]),
        maybe(&[json!("r w"), json!("w"), json!("rw"), json!("")]),
    );
    claims.prop_map(|(s, l, i, b, scope)| {
        let claims = [("s", s), ("l", l), ("i", i), ("b", b), ("scope", scope)];
        claims.into_iter().filter_map(|(name, claim)| Some((name.to_owned(), claim?))).collect()
    })
}

fn peer() -> impl Strategy<Value = Peer> {
    let workload = maybe(&[("web", "bff"), ("web", "x"), ("shop", "cart"), ("evil", "x")]);
    let assurance = select(vec![Assurance::Network, Assurance::Token, Assurance::Certificate]);
    let uri = maybe(&["spiffe://td/ns/web/sa/bff", "spiffe://td/ns/shop/sa/a", "spiffe://other/a", "urn:a"]);
    let dns = maybe(&["a.test", "b.test", "c.test"]);
    (workload, assurance, uri, dns, option::of(1u8..4), any::<bool>()).prop_map(
        |(workload, assurance, uri, dns, digest, twice)| {
            let names = uri.iter().map(|uri| PeerName::Uri((*uri).to_owned()));
            let names = names.chain(twice.then(|| PeerName::Uri("urn:b".to_owned())));
            let names = names.chain(dns.map(|name| PeerName::Dns(name.to_owned())));
            Peer {
                names: if digest.is_some() { names.collect() } else { Vec::new() },
                digests: digest.map(|byte| ([byte; 32], [9; 32])),
                workload: workload.map(|(namespace, account)| Workload {
                    namespace: namespace.to_owned(),
                    service_account: account.to_owned(),
                    assurance,
                }),
                pod: None,
            }
        },
    )
}

fn context() -> impl Strategy<Value = Context> {
    let client = maybe(&["10.0.0.1", "10.1.0.1", "192.0.2.1", "2001:db8::1"]);
    let tokens = (option::of(token()), option::of(token()));
    (client, option::weighted(0.8, peer()), tokens, maybe(&["m", "n", "o"]), maybe(&["ann", "bob", "eve"]))
        .prop_map(|(client, peer, tokens, api_client, user)| {
            let token = |provider: &str, claims: Value| Token {
                provider: provider.into(),
                claims: claims.as_object().unwrap().clone().into(),
            };
            let tokens =
                [tokens.0.map(|claims| token("p", claims)), tokens.1.map(|claims| token("q", claims))];
            Context {
                client: client.map(|client| client.parse().unwrap()),
                caller: Caller {
                    peer: peer.map(Arc::new),
                    tokens: tokens.into_iter().flatten().collect(),
                    api_client: api_client.map(Into::into),
                    user: user.map(Into::into),
                },
                ..Context::default()
            }
        })
}

/// Status and reason.
fn refused(
    filter: &AuthorizationFilter,
    req: &mut Request,
    ctx: &mut Context,
) -> Option<(u16, &'static str)> {
    match filter.request(req, ctx, &mut ()) {
        Verdict::Continue => None,
        Verdict::Reply(reply) => Some((reply.status.as_u16(), reply.reason)),
        Verdict::Wait(_) => panic!("there is nothing to wait for"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn compiled_rules_decide_as_a_plain_reading_does(policy in policy(), mut req in request(), mut ctx in context()) {
        // What says nothing, or would refuse everybody, does not compile; the tables have these cases.
        let Ok(filter) = policy.compile(&Nothing) else { return Ok(()) };
        let (denied, would) = naive::decide(&policy, &req, &ctx);
        let got = refused(&filter, &mut req, &mut ctx);
        prop_assert_eq!(got, denied.map(|reason| (403, reason)));
        prop_assert_eq!(ctx.would_deny.as_slice(), would.as_slice());
    }

    #[test]
    fn the_order_of_rules_says_nothing(
        (policy, shuffled) in policy().prop_flat_map(|policy| {
            let rules = Just(policy.rules.clone()).prop_shuffle();
            (Just(policy.clone()), rules.prop_map(move |rules| Authorization { rules, ..policy.clone() }))
        }),
        mut req in request(),
        ctx in context(),
    ) {
        let (Ok(one), Ok(other)) = (policy.compile(&Nothing), shuffled.compile(&Nothing)) else { return Ok(()) };
        let mut passes = |filter: &AuthorizationFilter| {
            let caller = Caller {
                peer: ctx.caller.peer.clone(),
                tokens: ctx.caller.tokens.clone(),
                api_client: ctx.caller.api_client.clone(),
                user: ctx.caller.user.clone(),
            };
            let mut ctx = Context { client: ctx.client, caller, ..Context::default() };
            (refused(filter, &mut req, &mut ctx).is_none(), ctx.would_deny.len())
        };
        prop_assert_eq!(passes(&one), passes(&other));
    }
}
