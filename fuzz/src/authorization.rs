//! Authorization: a policy decides what its rules, each alone, decide together, by the precedence of `docs/authorization.md`.

use std::sync::Arc;

use policies::authorization::{Action, Authorization, Rule};
use policies::caller::{Assurance, Caller, Peer, PeerName, Token, Workload};
use policies::mode::Mode;
use policies::{BackendRef, Context, Filter, Lookup, Policy, Request, Upstream, Verdict};
use serde_json::Value;

use crate::memory::bounded;

struct Nobody;

impl Lookup for Nobody {
    fn backend(&self, _: &BackendRef) -> Option<Arc<dyn Upstream>> {
        None
    }
}

/// A policy as JSON, and below it, line by line: `METHOD TARGET`, `name: value`, `@address`, `{claims}` of the token `p`,
/// `=namespace/serviceaccount`, `+user`, `-client`, `*uri` and `~dnsname` of a certificate.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (policy, asked) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(policy) = serde_json::from_str::<Authorization>(policy) else { return };
    // What 256 rules of tables and a head take.
    bounded(data.len(), 4 << 20, || {
        let Some(whole) = decide(&policy, asked) else { return };
        assert_eq!(decide(&policy, asked).as_ref(), Some(&whole), "it decides the same again");
        let mut reversed = policy.clone();
        reversed.rules.reverse();
        // Without names they are called by their place.
        if let Some(reversed) = decide(&reversed, asked) {
            assert_eq!(reversed.is_some(), whole.is_some(), "order says nothing");
        }
        if policy.mode == Mode::Enforce {
            assert_eq!(whole, together(&policy, asked), "{policy:?}\n{asked}");
        }
    });
}

/// `None`: it does not compile. `Some(None)`: it lets through.
pub(crate) fn decide(policy: &Authorization, asked: &str) -> Option<Option<&'static str>> {
    let filter = policy.compile(&Nobody).ok()?;
    let (mut req, mut ctx) = request(asked)?;
    let Verdict::Reply(reply) = filter.request(&mut req, &mut ctx, &mut ()) else { return Some(None) };
    assert_eq!(reply.status, 403);
    assert!(reply.body.is_empty() && reply.headers.is_empty(), "nothing is told");
    Some(Some(reply.reason))
}

fn together(policy: &Authorization, asked: &str) -> Option<&'static str> {
    let enforced: Vec<&Rule> = policy.rules.iter().filter(|rule| rule.mode == Mode::Enforce).collect();
    let alone = |rule: &Rule| {
        let rules = vec![rule.clone()];
        let alone = Authorization { default_action: Action::Allow, rules, mode: Mode::Enforce };
        decide(&alone, asked).expect("what compiles in a policy does so alone")
    };
    let of = |action| enforced.iter().filter(move |rule| rule.action == action);
    let deny: Vec<_> = of(Action::Deny).map(|rule| (rule.when.is_some(), alone(rule))).collect();
    // Those with a condition come after those without.
    let refused =
        |conditional| deny.iter().find_map(|(has, outcome)| outcome.filter(|_| *has == conditional));
    if let Some(reason) = refused(false).or_else(|| refused(true)) {
        return Some(reason);
    }
    let allow: Vec<_> = of(Action::Allow).map(|rule| alone(rule)).collect();
    if allow.contains(&None) {
        return None;
    }
    if allow.contains(&Some("authz_cel_error")) {
        return Some("authz_cel_error");
    }
    (!allow.is_empty() || policy.default_action == Action::Deny).then_some("authz_default")
}

fn request(asked: &str) -> Option<(Request, Context)> {
    let mut lines = asked.lines();
    let (method, target) = lines.next().unwrap_or_default().split_once(' ').unwrap_or(("GET", "/"));
    let mut req = Request::build(method, target.as_bytes(), None).ok()?;
    let (mut ctx, mut peer) = (Context::default(), Peer::default());
    let mut caller = Caller::default();
    for line in lines.take(64) {
        let (kind, rest) = line.split_at_checked(1).unwrap_or_default();
        match kind {
            "@" => ctx.client = rest.parse().ok(),
            "{" => {
                let Ok(Value::Object(claims)) = serde_json::from_str(line) else { continue };
                caller.tokens.push(Token { provider: "p".into(), claims: claims.into() });
            }
            "=" => {
                let (namespace, account) = rest.split_once('/').unwrap_or((rest, ""));
                peer.workload = Some(Workload {
                    namespace: namespace.to_owned(),
                    service_account: account.to_owned(),
                    assurance: if account.len() % 2 == 0 { Assurance::Token } else { Assurance::Network },
                });
            }
            "+" => caller.user = Some(rest.into()),
            "-" => caller.api_client = Some(rest.into()),
            "*" => peer.names.push(PeerName::Uri(rest.to_owned())),
            "~" => peer.names.push(PeerName::Dns(rest.to_owned())),
            _ => {
                let (name, value) = line.split_once(": ").unwrap_or((line, ""));
                // What is no field is none.
                let _ = req.append_header(name.to_owned(), value);
            }
        }
    }
    peer.digests = (!peer.names.is_empty()).then_some(([7; 32], [8; 32]));
    caller.peer = Some(Arc::new(peer));
    ctx.caller = caller;
    Some((req, ctx))
}
