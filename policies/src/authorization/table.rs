//! What rules ask of a fact, by what the fact may be: one look tells for all rules whether it suits them.
//!
//! So a request costs what facts rules ask for, and not how many rules ask.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::RandomState;

use super::bits::Bits;

/// What is known of a fact of one request, as far as a table is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// It cannot be told, or what it is cannot be trusted.
    Unknown,
    /// The request says nothing of it.
    Absent,
    /// Rules that every value suits, and those that some value suits.
    Values { every: Bits, some: Bits },
}

impl Seen {
    /// Of a fact with one value.
    pub(super) const fn one(suits: Bits) -> Self {
        Self::Values { every: suits, some: suits }
    }

    /// Of a fact with several values at once; `Absent` of none.
    pub(super) fn each(values: impl Iterator<Item = Bits>) -> Self {
        values.fold(Self::Absent, |seen, suits| match seen {
            Self::Values { every, some } => Self::Values { every: every & suits, some: some | suits },
            Self::Unknown | Self::Absent => Self::one(suits),
        })
    }

    /// Of an optional fact that is not known where it is not there.
    pub(super) fn known(suits: Option<Bits>) -> Self {
        suits.map_or(Self::Unknown, Self::one)
    }
}

/// What rules ask of one fact, in the positive or in the negative.
#[derive(Debug, Default)]
pub(super) struct Condition<T> {
    /// Rules that ask.
    asking: Bits,
    /// They want the fact to be none of what is in the table.
    is_negated: bool,
    table: T,
}

impl<T> Condition<T> {
    pub(super) const fn new(asking: Bits, is_negated: bool, table: T) -> Self {
        Self { asking, is_negated, table }
    }

    /// Rules the request does not fail by this fact. Deny rules are satisfied by what Allow rules are not: the doubt is
    /// never the caller's.
    pub(super) fn pass(&self, deny: Bits, look: impl FnOnce(&T) -> Seen) -> Bits {
        let (allow_passes, deny_passes) = match (look(&self.table), self.is_negated) {
            (Seen::Unknown, _) | (Seen::Absent, true) => (Bits::NONE, Bits::ALL),
            (Seen::Absent, false) => (Bits::NONE, Bits::NONE),
            (Seen::Values { every, some }, false) => (every, some),
            (Seen::Values { every, some }, true) => (!some, !every),
        };
        !self.asking | (allow_passes & !deny) | (deny_passes & deny)
    }
}

/// A fact that may be asked for in both ways.
#[derive(Debug)]
pub(super) struct Fact<T>(Box<[Condition<T>]>);

impl<T> Fact<T> {
    pub(super) fn new(conditions: impl IntoIterator<Item = Option<Condition<T>>>) -> Self {
        Self(conditions.into_iter().flatten().collect())
    }

    pub(super) fn is_asked(&self) -> bool {
        !self.0.is_empty()
    }

    /// Takes out of `rules` those that the request fails.
    pub(super) fn keep(&self, rules: &mut Bits, deny: Bits, look: impl Fn(&T) -> Seen) {
        self.0.iter().for_each(|condition| *rules &= condition.pass(deny, &look));
    }
}

/// Rules by value.
#[derive(Debug)]
pub(super) struct Exact<K>(HashMap<K, Bits, RandomState>);

impl<K: Hash + Eq> Exact<K> {
    pub(super) fn get<Q: Hash + Eq + ?Sized>(&self, value: &Q) -> Bits
    where
        K: Borrow<Q>,
    {
        self.0.get(value).copied().unwrap_or_default()
    }

    fn add(&mut self, value: K, rules: Bits) {
        *self.0.entry(value).or_default() |= rules;
    }
}

impl<K> Default for Exact<K> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<K: Hash + Eq> Extend<(K, Bits)> for Exact<K> {
    fn extend<I: IntoIterator<Item = (K, Bits)>>(&mut self, values: I) {
        values.into_iter().for_each(|(value, rules)| self.add(value, rules));
    }
}

impl<K: Hash + Eq> FromIterator<(K, Bits)> for Exact<K> {
    fn from_iter<I: IntoIterator<Item = (K, Bits)>>(values: I) -> Self {
        let mut all = Self::default();
        all.extend(values);
        all
    }
}

/// Text by value. What is longer than any is not hashed: its length is the client's to choose.
#[derive(Debug, Default)]
pub(super) struct Texts {
    longest: usize,
    by_value: Exact<Box<[u8]>>,
}

impl Texts {
    pub(super) fn get(&self, value: &[u8]) -> Bits {
        if value.len() > self.longest { Bits::NONE } else { self.by_value.get(value) }
    }
}

impl FromIterator<(Box<[u8]>, Bits)> for Texts {
    fn from_iter<I: IntoIterator<Item = (Box<[u8]>, Bits)>>(values: I) -> Self {
        let mut all = Self::default();
        for (value, rules) in values {
            all.longest = all.longest.max(value.len());
            all.by_value.add(value, rules);
        }
        all
    }
}

/// Text by what it begins with, up to a slash or its end. A look costs as many hashes as the deepest prefix has slashes,
/// however many the text has.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    deepest: usize,
    by_prefix: Texts,
}

impl Prefixes {
    /// Rules with a prefix of `value`; `value` itself is one if `is_whole`.
    pub(super) fn get(&self, value: &[u8], is_whole: bool) -> Bits {
        let slashes = value.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let ends = slashes.chain(is_whole.then_some(value.len()));
        let prefixes = ends.take(self.deepest + 1).take_while(|end| *end <= self.by_prefix.longest);
        let found = prefixes.filter_map(|end| value.get(..end)).map(|prefix| self.by_prefix.get(prefix));
        found.fold(Bits::NONE, |all, rules| all | rules)
    }
}

impl FromIterator<(Box<[u8]>, Bits)> for Prefixes {
    fn from_iter<I: IntoIterator<Item = (Box<[u8]>, Bits)>>(values: I) -> Self {
        let mut deepest = 0;
        let counted = values.into_iter().inspect(|(prefix, _)| {
            deepest = deepest.max(prefix.iter().filter(|byte| **byte == b'/').count());
        });
        let by_prefix = counted.collect();
        Self { deepest, by_prefix }
    }
}
