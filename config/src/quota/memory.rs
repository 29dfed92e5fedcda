//! Where a server keeps what it knows.

use std::collections::HashMap;
use std::sync::Arc;

use super::id::Id;
use super::record::Record;

/// Where records are kept. Each change is one call, so that a store which servers share can make it atomic.
pub trait Records {
    /// Changes a record, which is `new` if there is none. Says whether there is one now: a store may be full.
    fn change(&mut self, name: &Name, new: Option<Record>, change: &mut dyn FnMut(&mut Record)) -> bool;
    /// Looks at each and removes those that are not wanted any more.
    fn retain(&mut self, keep: &mut dyn FnMut(&Name, &mut Record) -> bool);
}

/// A bucket, and the domain it is in.
pub type Name = (Arc<str>, Id);

/// Records in memory. One limit may have four times as many as there are places left: whoever makes keys up fills four fifths
/// of it, two of them four ninths each, and there always is a place for somebody else's.
#[derive(Debug)]
pub struct Memory {
    records: HashMap<Name, Record>,
    /// How many there are of each limit.
    counts: HashMap<Box<str>, usize>,
    most: usize,
}

impl Memory {
    /// At most so many.
    pub fn new(most: usize) -> Self {
        Self { records: HashMap::new(), counts: HashMap::new(), most }
    }

    fn has_place(&self, id: &Id) -> bool {
        let of_limit = self.counts.get(id.limit().unwrap_or_default()).copied().unwrap_or(0);
        of_limit < self.most.saturating_sub(self.records.len()).saturating_mul(4)
    }

    /// A record.
    pub fn get(&self, name: &Name) -> Option<&Record> {
        self.records.get(name)
    }

    /// Each record.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &Record)> {
        self.records.iter()
    }
}

impl Records for Memory {
    fn change(&mut self, name: &Name, new: Option<Record>, change: &mut dyn FnMut(&mut Record)) -> bool {
        if let Some(record) = self.records.get_mut(name) {
            change(record);
            return true;
        }
        let Some(mut record) = new.filter(|_| self.has_place(&name.1)) else { return false };
        change(&mut record);
        self.records.insert(name.clone(), record);
        *self.counts.entry(name.1.limit().unwrap_or_default().into()).or_default() += 1;
        true
    }

    fn retain(&mut self, keep: &mut dyn FnMut(&Name, &mut Record) -> bool) {
        let Self { records, counts, .. } = self;
        records.retain(|name, record| {
            let is_kept = keep(name, record);
            if !is_kept && let Some(count) = counts.get_mut(name.1.limit().unwrap_or_default()) {
                *count = count.saturating_sub(1);
            }
            is_kept
        });
        counts.retain(|_, count| *count > 0);
    }
}
