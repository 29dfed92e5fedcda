//! Which limit a descriptor has.

use std::collections::HashMap;
use std::sync::Arc;

use policies::rate_limit::Unit;
use smallvec::SmallVec;

use super::proto::Entry;

/// A limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// So many requests, `None` as many as come, per unit.
    pub limit: Option<(u32, Unit)>,
    /// By which others replace it; empty: none can.
    pub name: String,
    /// Names of limits that do not count where this one does.
    pub replaces: Vec<String>,
    /// What is over is counted, and goes on.
    pub shadow_mode: bool,
    /// As shadow mode; the one who asks is told that it is over only by what remains.
    pub quota_mode: bool,
}

/// A limit that was found. `shared[i]`: what stands for the value of entry `i`, so that all values that it covers have one
/// counter.
pub(super) type Found<'l> = (&'l Arc<Rule>, SmallVec<[Option<&'l str>; 4]>);

/// All limits, by domain.
#[derive(Debug, Default)]
pub struct Limits {
    pub(super) domains: HashMap<String, Node>,
}

/// One step into the descriptors of a domain.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) rule: Option<Arc<Rule>>,
    /// By `key`, or `key_value`.
    pub(super) below: HashMap<String, Self>,
    /// Those of `below` that end with `*`, in the order of the file.
    pub(super) wildcards: Vec<String>,
    pub(super) shares: bool,
}

impl Limits {
    /// The limit of a descriptor: the one of its last entry, with all entries found. An entry is found by key and value, then
    /// by the first wildcard that covers it, then by its key alone.
    pub(super) fn find(&self, domain: &str, entries: &[Entry]) -> Option<Found<'_>> {
        let mut node = self.domains.get(domain)?;
        let mut shared: SmallVec<[Option<&str>; 4]> = SmallVec::new();
        let mut entries = entries.iter().peekable();
        while let Some(Entry { key, value }) = entries.next() {
            let exact = format!("{key}_{value}");
            let covers =
                |wildcard: &&String| wildcard.strip_suffix('*').is_some_and(|start| exact.starts_with(start));
            let mut pattern = None;
            let found = node.below.get(&exact).or_else(|| {
                let wildcard = node.wildcards.iter().find(covers)?;
                let found = node.below.get(wildcard)?;
                let value = wildcard.strip_prefix(key).and_then(|rest| rest.strip_prefix('_'));
                pattern = found.shares.then(|| value.unwrap_or(wildcard));
                Some(found)
            });
            let found = found.or_else(|| node.below.get(key))?;
            shared.push(pattern);
            if entries.peek().is_none() {
                return Some((found.rule.as_ref()?, shared));
            }
            node = found;
        }
        None
    }
}
