//! The levels of one listener, laid over each other.

use std::collections::BTreeMap;

use serde_json::Value;

use super::judge::Judged;
use super::leaves::{assemble, group};

/// A policy about a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Level {
    /// Index.
    pub(super) policy: usize,
    /// By way of a ListenerSet.
    pub(super) is_of_set: bool,
}

/// A value and whose it is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    pub(super) value: Value,
    pub(super) from: Level,
}

/// By path of the leaf.
pub(super) type Fields = BTreeMap<String, Field>;

/// What is left out of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clash {
    pub(super) policy: usize,
    /// Such as `tls`.
    pub(super) group: String,
    /// What would be wrong.
    pub(super) problem: String,
}

/// Merges levels, given from general to specific: the most specific that says a leaf wins. Each may be right and both
/// together wrong: of the more general one that group is left out then.
pub(super) fn merge(levels: &[Level], policies: &[Judged<'_>]) -> (Fields, Vec<Clash>) {
    let (mut fields, mut clashes) = (Fields::new(), Vec::new());
    for level in levels.iter().rev() {
        let Some(judged) = policies.get(level.policy) else { continue };
        let new: Vec<(&String, &Value)> =
            judged.leaves.iter().filter(|(path, _)| !fields.contains_key(*path)).collect();
        let refused = if fields.is_empty() { Vec::new() } else { contradictions(&fields, &new) };
        for (path, value) in new {
            if refused.iter().all(|(refused, _)| refused != group(path)) {
                fields.insert(path.clone(), Field { value: value.clone(), from: *level });
            }
        }
        let policy = level.policy;
        clashes.extend(refused.into_iter().map(|(group, problem)| Clash { policy, group, problem }));
    }
    (fields, clashes)
}

/// Groups that cannot be as both say, each with what would be wrong.
fn contradictions(fields: &Fields, new: &[(&String, &Value)]) -> Vec<(String, String)> {
    let said = fields.iter().map(|(path, field)| (path.as_str(), &field.value));
    let all = said.chain(new.iter().map(|(path, value)| (path.as_str(), *value)));
    match assemble(all) {
        Ok(traffic) => {
            let problems = traffic.problems().into_iter();
            problems.map(|problem| (group(&problem).to_owned(), problem)).collect()
        }
        Err(error) => {
            let mut groups: Vec<&str> = new.iter().map(|(path, _)| group(path)).collect();
            groups.dedup();
            groups.into_iter().map(|group| (group.to_owned(), error.to_string())).collect()
        }
    }
}
