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
    let dear = "jwt.p.a.exists(x, x.startsWith('a') || x.endsWith('b'))";
    let one = compile(&rules(1, |_| format!("{{action: Allow, when: \"{dear}\"}}"))).unwrap();
    let cost = one.rules[0].when.as_ref().unwrap().cost();
    assert!(cost * 2 > 5000 && cost <= 5000, "{cost}");
    let fit = 20_000 / cost;
    let many = |count| compile(&rules(count, |_| format!("{{action: Allow, when: \"{dear}\"}}")));
    assert!(many(fit).is_ok());
    let error = many(fit + 1).unwrap_err();
    assert_eq!(
        error,
        format!("rules[{fit}].when: costs too much together with the rules before it: at most 20000 in all")
    );
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
}

#[test]
fn what_is_compiled_says_no_condition() {
    let filter = compile("{rules: [{action: Allow, when: \"source.user == 'secret'\"}]}").unwrap();
    assert!(!format!("{filter:?}").contains("secret"));
}
