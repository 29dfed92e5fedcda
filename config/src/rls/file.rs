//! Configuration files of `envoyproxy/ratelimit`: what they hold, and what is wrong with them. What that project refuses is
//! refused; a field in a place where it would ignore it is refused, too.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;

use super::Unit;
use super::limits::{Limits, Node, Rule};

/// How deep descriptors may lie in each other.
const DEEPEST: usize = 32;

/// One file, read.
#[derive(Debug)]
pub struct File {
    name: String,
    root: Root,
}

/// Why a file cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {reason}")]
pub struct BadFile {
    /// Its name.
    pub file: String,
    /// What is wrong, and what to do.
    pub reason: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Root {
    domain: Option<String>,
    descriptors: Option<Vec<Descriptor>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "what the file says")]
struct Descriptor {
    key: Option<String>,
    value: Option<String>,
    rate_limit: Option<RateLimit>,
    descriptors: Option<Vec<Self>>,
    shadow_mode: bool,
    quota_mode: bool,
    /// Of metrics only, as the next: taken, because nothing about limits depends on them.
    #[serde(rename = "detailed_metric")]
    _detailed_metric: bool,
    #[serde(rename = "value_to_metric")]
    _value_to_metric: bool,
    share_threshold: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RateLimit {
    requests_per_unit: u32,
    unit: Option<String>,
    unlimited: bool,
    name: Option<String>,
    replaces: Option<Vec<Replaces>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Replaces {
    name: Option<String>,
}

impl File {
    /// # Errors
    /// What is no YAML, or has fields that such a file has not.
    pub fn read(name: &str, text: &str) -> Result<Self, BadFile> {
        let root = serde_saphyr::from_str(text).map_err(|error| BadFile {
            file: name.to_owned(),
            reason: format!("cannot be read: {error}; correct it"),
        })?;
        Ok(Self { name: name.to_owned(), root })
    }

    fn bad(&self, reason: impl Into<String>) -> BadFile {
        BadFile { file: self.name.clone(), reason: reason.into() }
    }

    fn load(&self, path: &str, from: &[Descriptor], into: &mut Node, depth: usize) -> Result<(), BadFile> {
        if depth > DEEPEST {
            return Err(self.bad(format!("descriptors lie more than {DEEPEST} deep: write fewer")));
        }
        for descriptor in from {
            let key = descriptor.key.as_deref().unwrap_or_default();
            if key.is_empty() {
                return Err(self.bad("descriptor has empty key: write one"));
            }
            let key = match descriptor.value.as_deref().unwrap_or_default() {
                "" => key.to_owned(),
                value => format!("{key}_{value}"),
            };
            let path = format!("{path}.{key}");
            if into.below.contains_key(&key) {
                return Err(self.bad(format!("duplicate descriptor composite key '{path}': keep one")));
            }
            if descriptor.share_threshold && !key.ends_with('*') {
                let reason =
                    "share_threshold can only be used with wildcard values (ending with '*'), but found key";
                return Err(self.bad(format!("{reason} '{key}': remove it")));
            }
            let rule =
                descriptor.rate_limit.as_ref().map(|limit| self.rule(limit, descriptor)).transpose()?;
            let mut node =
                Node { rule: rule.map(Arc::new), shares: descriptor.share_threshold, ..Node::default() };
            self.load(&path, descriptor.descriptors.as_deref().unwrap_or_default(), &mut node, depth + 1)?;
            if key.ends_with('*') {
                into.wildcards.push(key.clone());
            }
            into.below.insert(key, node);
        }
        Ok(())
    }

    fn rule(&self, limit: &RateLimit, descriptor: &Descriptor) -> Result<Rule, BadFile> {
        let written = limit.unit.as_deref().unwrap_or_default();
        let limit_and_unit = match (limit.unlimited, Unit::named(written)) {
            (true, Some(_)) => {
                return Err(self.bad("should not specify rate limit unit when unlimited: remove it"));
            }
            (true, None) => None,
            (false, Some(unit)) => Some((limit.requests_per_unit, unit)),
            (false, None) => {
                let remedy = "write second, minute, hour, day, week, month or year";
                return Err(self.bad(format!("invalid rate limit unit '{written}': {remedy}")));
            }
        };
        let name = limit.name.clone().unwrap_or_default();
        let replaces: Vec<String> = limit
            .replaces
            .iter()
            .flatten()
            .map(|replaces| replaces.name.clone().unwrap_or_default())
            .collect();
        if replaces.iter().any(String::is_empty) {
            return Err(self.bad("should not have an empty replaces entry: write a name"));
        }
        if replaces.contains(&name) {
            return Err(self.bad("replaces should not contain name of same descriptor: remove it"));
        }
        let Descriptor { shadow_mode, quota_mode, .. } = *descriptor;
        Ok(Rule { limit: limit_and_unit, name, replaces, shadow_mode, quota_mode })
    }
}

impl Limits {
    /// All of some files.
    ///
    /// # Errors
    /// The first that cannot be followed. `merges`: several files may be about one domain.
    pub fn of(files: &[File], merges: bool) -> Result<Self, BadFile> {
        let mut domains: HashMap<String, Node> = HashMap::new();
        for file in files {
            let domain = file.root.domain.as_deref().unwrap_or_default();
            if domain.is_empty() {
                return Err(file.bad("config file cannot have empty domain: write one"));
            }
            if domains.contains_key(domain) && !merges {
                return Err(file.bad(format!("duplicate domain '{domain}' in config file: keep one file")));
            }
            let node = domains.entry(domain.to_owned()).or_default();
            file.load(domain, file.root.descriptors.as_deref().unwrap_or_default(), node, 0)?;
        }
        Ok(Self { domains })
    }
}
