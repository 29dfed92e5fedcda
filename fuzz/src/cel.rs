//! Conditions in CEL: no text and no request ends the process, and an Allow rule and a Deny rule with the same condition see
//! the same in it.

use policies::authorization::{Action, Authorization, Rule};
use policies::mode::Mode;

use crate::authorization::decide;
use crate::memory::bounded;

/// An expression up to an empty line, then a request as `authorization` reads it.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (expression, asked) = text.split_once("\n\n").unwrap_or((text, ""));
    let policy = |action| {
        let when = Some(expression.to_owned());
        let rules = vec![Rule { action, when, ..Rule::default() }];
        Authorization { default_action: Action::Allow, rules, mode: Mode::Enforce }
    };
    // A cost of 5,000 may make some values for each step.
    bounded(data.len(), 4 << 20, || {
        let allow = decide(&policy(Action::Allow), asked);
        let deny = decide(&policy(Action::Deny), asked);
        let wanted = allow.map(|allow| match allow {
            // It holds.
            None => Some("authz_denied"),
            Some("authz_default") => None,
            failed => failed,
        });
        assert_eq!(deny, wanted, "{expression:?}\n{asked}");
    });
}
