use std::sync::Arc;

use super::*;
use crate::{BackendRef, Upstream};

struct Nothing;

impl Lookup for Nothing {
    fn backend(&self, _: &BackendRef) -> Option<Arc<dyn Upstream>> {
        None
    }
}

fn compile(yaml: &str) -> Result<AuthorizationFilter, String> {
    let policy: Authorization = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
    policy.compile(&Nothing).map_err(|invalid| invalid.to_string())
}

fn rules(count: usize, rule: impl Fn(usize) -> String) -> String {
    format!("{{rules: [{}]}}", (0..count).map(rule).collect::<Vec<_>>().join(", "))
}

#[test]
fn a_policy_has_256_rules_at_most() {
    let many =
        |count| compile(&rules(count, |at| format!("{{action: Allow, operation: {{methods: [M{at}]}}}}")));
    assert_eq!(many(256).unwrap().all, Bits::ALL);
    assert_eq!(many(257).unwrap_err(), "rules: has 257 rules: at most 256 are taken");
}

#[test]
fn a_list_has_256_entries_at_most() {
    let many = |count: usize| {
        let users: Vec<String> = (0..count).map(|at| format!("u{at}")).collect();
        compile(&format!("{{rules: [{{action: Allow, principal: {{users: [{}]}}}}]}}", users.join(", ")))
    };
    assert!(many(256).is_ok());
    assert_eq!(many(257).unwrap_err(), "rules[0].principal.users: has 257 entries: at most 256 are taken");
}

#[test]
fn a_policy_names_256_scopes_at_most() {
    let many = |count| {
        compile(&rules(count, |at| {
            format!("{{action: Allow, principal: {{jwt: {{provider: p, scopes: [a{at}, b{at}]}}}}}}")
        }))
    };
    assert!(many(128).is_ok());
    let error = many(129).unwrap_err();
    assert_eq!(error, "rules[128].principal.jwt.scopes: the policy names more than 256 scopes: split it");
}

#[test]
fn names_have_253_characters_at_most() {
    let named = |length| {
        compile(&rules(1, |_| format!("{{name: {}, action: Allow, when: 'true'}}", "n".repeat(length))))
    };
    assert!(named(253).is_ok() && named(254).is_err());
    assert!(compile("{rules: [{name: \"a\\nb\", action: Allow, when: 'true'}]}").is_err());
}

#[test]
fn conditions_together_cost_what_one_may_four_times() {
    // 723 of the list, 4,200 of what is asked of each element, 77 of the others.
    let asked = ["x"].into_iter().chain([" && true"; 21]).collect::<String>();
    let dear = format!("jwt.p.a.exists(x, {asked}) && 'a' in jwt.p.a && 'a' in jwt.p.a && 1 == 2 && !true");
    let rule = |when: &str| format!("{{action: Allow, when: \"{when}\"}}");
    let one = compile(&rules(1, |_| rule(&dear))).unwrap();
    assert_eq!(one.rules[0].when.as_ref().unwrap().cost(), 5_000);
    let dearer = compile(&rules(1, |_| rule(&format!("{dear} && true")))).unwrap_err();
    assert!(dearer.starts_with("rules[0].when: costs 5002: at most 5000 is taken"), "{dearer}");
    let many = |last: &str| {
        let last = last.to_owned();
        compile(&rules(5, |at| if at < 4 { rule(&dear) } else { last.clone() }))
    };
    assert!(many("{action: Allow, operation: {methods: [GET]}}").is_ok());
    assert_eq!(
        many(&rule("true")).unwrap_err(),
        "rules[4].when: costs too much together with the rules before it: at most 20000 in all"
    );
}

#[test]
fn names_are_as_long_as_they_may_be_and_no_longer() {
    let claim = |name: &str| {
        compile(&rules(1, |_| {
            format!(
                "{{action: Allow, principal: {{jwt: {{provider: p, claims: [{{name: {name}, values: [a]}}]}}}}}}"
            )
        }))
    };
    assert!(claim("a.b.c.d.e.f.g.h").is_ok() && claim("a.b.c.d.e.f.g.h.i").is_err());
    assert!(claim(&"a".repeat(256)).is_ok() && claim(&"a".repeat(257)).is_err());
    let service = |length: usize| {
        compile(&rules(1, |_| {
            format!("{{action: Allow, operation: {{grpc: [{{service: {}}}]}}}}", "a".repeat(length))
        }))
    };
    assert!(service(1024).is_ok() && service(1025).is_err());
    let namespace = |length: usize| {
        compile(&rules(1, |_| {
            format!("{{action: Allow, principal: {{namespaces: [{}]}}}}", "a".repeat(length))
        }))
    };
    assert!(namespace(253).is_ok() && namespace(254).is_err());
    let path = |length: usize| {
        compile(&rules(1, |_| {
            format!("{{action: Allow, operation: {{paths: [{{value: /{}}}]}}}}", "a".repeat(length - 1))
        }))
    };
    assert!(path(1024).is_ok());
    let error = path(1025).unwrap_err();
    assert!(error.contains("is longer than 1,024 bytes: write a prefix of it"), "{error}");
}

/// `OPTIONS *` (RFC 9110 section 9.3.7) is about no path.
#[test]
fn a_path_that_is_none_suits_no_allow_rule_and_every_deny_rule() {
    for (rule, reason) in [
        ("{action: Allow, operation: {paths: [{value: /}]}}", Some("authz_default")),
        ("{action: Allow, operation: {notPaths: [{value: /admin}]}}", Some("authz_default")),
        ("{action: Deny, operation: {paths: [{value: /admin}]}}", Some("authz_denied")),
        ("{action: Deny, operation: {notPaths: [{value: /admin}]}}", Some("authz_denied")),
        ("{action: Deny, operation: {methods: [GET]}}", None),
    ] {
        let filter = compile(&format!("{{defaultAction: Allow, rules: [{rule}]}}")).unwrap();
        let mut req = Request::build("OPTIONS", b"*", None).unwrap();
        let refused = match filter.request(&mut req, &mut Context::default(), &mut ()) {
            Verdict::Continue => None,
            Verdict::Reply(reply) => Some(reply.reason),
            Verdict::Wait(_) => panic!("waits"),
        };
        assert_eq!(refused, reason, "{rule}");
    }
}

#[test]
fn a_path_is_read_as_a_backend_may_read_it() {
    for (path, want) in [
        ("/a", &["/a"][..]),
        ("/a%20b/", &["/a b/"]),
        ("/%61%2f%5c%25", &["/a%2F%5C%25", "/a/%25"]),
        ("/a%2Fb", &["/a%2Fb", "/a/b"]),
        ("/a%2F", &["/a%2F", "/a/"]),
        ("/a%2F.", &["/a%2F.", "/a/"]),
        ("/a%2F..", &["/a%2F..", "/"]),
        ("/a%2F..%2F..%2Fb", &["/a%2F..%2F..%2Fb", "/b"]),
        ("/a%2F/b", &["/a%2F/b", "/a/b"]),
        // No escapes; the engine lets none through.
        ("/a%", &["/a%25"]),
        ("/a%2", &["/a%252"]),
        ("/a%1g", &["/a%251g"]),
    ] {
        let readings = path::Readings::of(path).unwrap();
        let read: Vec<&str> = readings.each().map(|path| std::str::from_utf8(path).unwrap()).collect();
        assert_eq!(read, want, "{path}");
    }
}

#[test]
fn what_nobody_knows_is_refused() {
    for yaml in [
        "{rules: [], x: 1}",
        "{rules: [{action: Audit}]}",
        "{rules: [{principal: {users: [a]}}]}",
        "{rules: [{action: Allow, principals: {users: [a]}}]}",
        "{rules: [{action: Allow, principal: {user: [a]}}]}",
        "{rules: [{action: Allow, operation: {path: /}}]}",
        "{rules: [{action: Allow, principal: {certificates: {names: [a]}}}]}",
        "{rules: [{action: Allow, principal: {jwt: {claims: []}}}]}",
        "{mode: Audit}",
    ] {
        assert!(serde_saphyr::from_str::<Authorization>(yaml).is_err(), "{yaml}");
    }
}

#[test]
fn a_policy_is_written_as_it_was_read() {
    let yaml = "{defaultAction: Allow, mode: Shadow, rules: [{name: a, action: Deny, mode: Shadow, \
        principal: {clientCIDRs: [10.0.0.0/8], minAssurance: Token, namespaces: [a], jwt: {provider: p, claims: \
        [{name: a, valueType: Integer, values: ['1']}]}}, operation: {paths: [{type: Exact, value: /a}]}, when: 'true'}]}";
    let read: Authorization = serde_saphyr::from_str(yaml).unwrap();
    let written = serde_saphyr::to_string(&read).unwrap();
    assert_eq!(serde_saphyr::from_str::<Authorization>(&written).unwrap(), read);
    assert!(written.contains("mode") && written.contains("clientCIDRs"), "{written}");
    let none = serde_saphyr::to_string(&Authorization::default()).unwrap();
    assert_eq!(none.trim(), "defaultAction: Deny");
    let defaults = "{rules: [{action: Allow, principal: {jwt: {provider: p, claims: [{name: a, valueType: String, values: [b]}]}}, \
        operation: {paths: [{type: PathPrefix, value: /a}]}}]}";
    let read: Authorization = serde_saphyr::from_str(defaults).unwrap();
    let written = serde_saphyr::to_string(&read).unwrap();
    assert!(!written.contains("valueType") && !written.contains("PathPrefix"), "{written}");
}

#[test]
fn what_is_compiled_says_no_condition() {
    let filter = compile("{rules: [{action: Allow, when: \"source.user == 'secret'\"}]}").unwrap();
    assert!(!format!("{filter:?}").contains("secret"));
}
