//! What policies of several levels come to, and whose each part is: for status and for people.

use std::collections::BTreeMap;

use policies::{Inherit, Layer, Parts, merge, written};
use serde_json::{Map, Value};

use super::Attached;

/// A part of what holds.
#[derive(Debug, Clone, PartialEq)]
pub struct EffectivePart {
    /// As it is written, such as `cors`.
    pub name: String,
    /// What it says.
    pub value: Value,
    /// Who says so.
    pub from: Said,
    /// Who says something else that does not hold.
    pub lost: Vec<Said>,
}

/// A place where a part is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Said {
    /// Index of the level.
    pub level: usize,
    /// Among its overrides, not its defaults.
    pub is_override: bool,
}

#[derive(Debug, Clone, Default)]
struct Sources(BTreeMap<&'static str, Said>);

impl Inherit for Sources {
    fn inherit(&mut self, parent: &Self) {
        for (part, said) in &parent.0 {
            self.0.entry(part).or_insert(*said);
        }
    }
}

/// What levels come to, given from general to specific, in the order in which the parts run.
#[must_use]
pub fn effective<S: Parts>(levels: &[&Attached<S>]) -> Vec<EffectivePart> {
    let sources = |set: &S, said: Said| Sources(set.names().into_iter().map(|part| (part, said)).collect());
    let layers: Vec<Layer<Sources>> = (levels.iter().enumerate())
        .map(|(level, policy)| Layer {
            defaults: sources(&policy.defaults, Said { level, is_override: false }),
            overrides: sources(&policy.overrides, Said { level, is_override: true }),
        })
        .collect();
    let holds = merge(&layers).0;
    let in_order = S::NAMES.iter().filter_map(|part| Some((*part, *holds.get(part)?)));
    in_order
        .map(|(part, from)| {
            let all = layers.iter().flat_map(|layer| [&layer.defaults, &layer.overrides]);
            let lost = all.filter_map(|set| set.0.get(part)).filter(|said| **said != from).copied();
            let set = levels.get(from.level).map(|policy| match from.is_override {
                true => &policy.overrides,
                false => &policy.defaults,
            });
            let fields = set.and_then(|set| serde_json::to_value(set).ok());
            let mut fields = match fields {
                Some(Value::Object(fields)) => fields,
                _ => Map::new(),
            };
            let name = written(part);
            let value = fields.remove(&name).unwrap_or_default();
            EffectivePart { name, value, from, lost: lost.collect() }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use policies::SecuritySet;

    use super::*;
    use crate::SecurityPolicy;

    fn cors(origin: &str) -> SecuritySet {
        serde_json::from_value(serde_json::json!({ "cors": { "allowOrigins": [origin] } })).unwrap()
    }

    #[test]
    fn each_part_is_told_with_who_says_it_and_who_lost() {
        let policy = |defaults: SecuritySet, overrides: SecuritySet| SecurityPolicy {
            defaults,
            overrides,
            invalid: None,
        };
        let none = SecuritySet::default;
        let levels = [
            policy(cors("https://gateway"), none()),
            policy(none(), cors("https://listener")),
            policy(cors("https://route"), cors("https://too-late")),
        ];
        let said = |level, is_override| Said { level, is_override };
        let parts = effective(&levels.iter().collect::<Vec<_>>());
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0].name, "cors");
        assert_eq!(parts[0].value["allowOrigins"][0], "https://listener");
        assert_eq!(parts[0].from, said(1, true));
        assert_eq!(parts[0].lost, [said(0, false), said(2, false), said(2, true)]);
        let defaults = effective(&[&levels[0], &policy(cors("https://route"), none())]);
        assert_eq!(defaults[0].from, said(1, false));
        assert!(effective::<SecuritySet>(&[]).is_empty());
    }
}
