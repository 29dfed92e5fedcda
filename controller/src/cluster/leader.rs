//! Leader election by a Lease: who writes. Everybody reads and serves.
//!
//! The machine is pure: it is told what the Lease says and what time it is, and says what to do. Times of the Lease
//! itself are never compared with our clock, which may differ from others': a holder counts as gone when its record has
//! not *changed* for as long as it promised, by our own clock.

mod lease;

use std::time::Duration;

use tokio::time::Instant;

pub(crate) use self::lease::Campaign;

/// How often the Lease is looked at, and renewed by its holder.
pub(crate) const RETRY: Duration = Duration::from_secs(2);
/// How long a holder promises to renew within.
pub(crate) const LEASE: Duration = Duration::from_secs(15);
/// Whoever renews every [`RETRY`] and has not for so long is not there: it may lead on by the Lease, but proxies need not wait
/// until that is over for somebody who tells them what is new.
const SILENT: Duration = Duration::from_secs(6);
/// A holder that could not renew for this long stops leading, well before others may begin.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// What a Lease says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Record {
    /// Empty: nobody.
    pub(crate) holder: String,
    /// Promise of the holder.
    pub(crate) duration: Duration,
    /// Changes with each renewal.
    pub(crate) renewal: String,
    /// How often the holder changed.
    pub(crate) transitions: i32,
}

impl Record {
    /// Nobody ever held the Lease: it is as it was created.
    pub(crate) fn is_untouched(&self) -> bool {
        self.holder.is_empty() && self.renewal.is_empty() && self.transitions == 0
    }
}

/// Whether this replica leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leads {
    No,
    /// And nobody did before it: no proxy has anything that a leader gave it.
    First,
    /// As somebody did before it, perhaps itself.
    Next,
}

impl Leads {
    pub(crate) fn now(self) -> bool {
        self != Self::No
    }
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Write the Lease with our name, if it is still as it was observed.
    Take,
    /// Write a new renewal.
    Renew,
    /// Look again later.
    Wait,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Elector {
    identity: String,
    /// What the Lease said last, and when it began to say so.
    record: Option<(Record, Instant)>,
    /// When our own last successful write began.
    held: Option<Instant>,
    /// Nobody held it before us.
    is_first: bool,
}

impl Elector {
    pub(crate) const fn new(identity: String) -> Self {
        Self { identity, record: None, held: None, is_first: false }
    }

    /// The Lease says this.
    pub(crate) fn observe(&mut self, record: Record, now: Instant) {
        if record.holder != self.identity {
            self.held = None;
        }
        if self.record.as_ref().is_none_or(|(old, _)| *old != record) {
            self.record = Some((record, now));
        }
    }

    /// Our write, begun at `begun`, was accepted.
    pub(crate) fn wrote(&mut self, record: Record, begun: Instant) {
        if !self.leads(begun).now() {
            self.is_first = self.record.as_ref().is_some_and(|(before, _)| before.is_untouched());
        }
        self.held = (record.holder == self.identity).then_some(begun);
        self.record = Some((record, begun));
    }

    /// What to do.
    pub(crate) fn decide(&self, now: Instant) -> Action {
        match &self.record {
            Some((record, _)) if record.holder == self.identity => {
                // A holder of our name that we are not: the process was started again under the same name.
                if self.held.is_some() { Action::Renew } else { Action::Take }
            }
            Some((record, since)) if record.holder.is_empty() || now >= *since + record.duration => {
                Action::Take
            }
            // Somebody holds it; or nothing is known of it, and it has to be looked at first.
            Some(_) | None => Action::Wait,
        }
    }

    /// Whether we lead.
    pub(crate) fn leads(&self, now: Instant) -> Leads {
        match self.held {
            Some(held) if now < held + DEADLINE && self.is_first => Leads::First,
            Some(held) if now < held + DEADLINE => Leads::Next,
            _ => Leads::No,
        }
    }

    /// Whether somebody else leads, and is there, as far as is known.
    pub(crate) fn follows(&self, now: Instant) -> bool {
        self.record.as_ref().is_some_and(|(record, since)| {
            !record.holder.is_empty()
                && record.holder != self.identity
                && now < *since + record.duration.min(SILENT)
        })
    }
}

#[cfg(test)]
mod tests;
