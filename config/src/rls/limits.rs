//! Which limit a descriptor has.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

use super::proto::Entry;

/// A unit of time. Months have 30 days, and years 365.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Unit {
    /// A second.
    Second = 1,
    /// A minute.
    Minute = 2,
    /// An hour.
    Hour = 3,
    /// A day.
    Day = 4,
    /// 30 days.
    Month = 5,
    /// 365 days.
    Year = 6,
    /// Seven days.
    Week = 7,
}

impl Unit {
    /// All there are, with their names.
    const ALL: [(Self, &'static str, u64); 7] = [
        (Self::Second, "second", 1),
        (Self::Minute, "minute", 60),
        (Self::Hour, "hour", 3_600),
        (Self::Day, "day", 86_400),
        (Self::Month, "month", 30 * 86_400),
        (Self::Year, "year", 365 * 86_400),
        (Self::Week, "week", 7 * 86_400),
    ];

    /// By name, in any case.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known, _)| known.eq_ignore_ascii_case(name)).map(|(unit, ..)| *unit)
    }

    /// By its number in messages.
    pub(super) fn numbered(number: i32) -> Option<Self> {
        Self::ALL.iter().map(|(unit, ..)| *unit).find(|unit| *unit as i32 == number)
    }

    /// How long it is.
    #[must_use]
    pub fn seconds(self) -> u64 {
        Self::ALL.iter().find(|(unit, ..)| *unit == self).map_or(1, |(.., seconds)| *seconds)
    }
}

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
    pub(super) below: HashMap<String, Node>,
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
