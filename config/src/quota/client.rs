//! What a proxy tells the quota server, and what it does about the answers: the book-keeping over tables of buckets.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use policies::lease::{Attention, Bucket, Grant, Stance, Table, Terms, Usage};

use super::id::Id;
use super::proto::{Action, Assign, BucketUsage, Crowd, LeaseUsage, Reports, Response, Span};
use super::{PER_MESSAGE, Pace, strategy};

const SECOND: u64 = 1_000_000_000;
/// Messages whose time of sending is remembered: those of two minutes at full pace.
const REMEMBERED: usize = 1024;
const SWEEP: u64 = 5 * SECOND;
/// RLQS: `reporting_interval` is greater than 100 ms.
const SHORTEST: u64 = SECOND / 10 + 1;
/// A key that is not used is reported so many times less often, which still renews its lease.
const QUIET: u64 = 5;
/// An acknowledgement of more than before waits so long for others.
const ADDED: u64 = SECOND / 10;

/// How a proxy reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientOptions {
    /// The domain all its buckets are in.
    pub domain: String,
    /// Nanoseconds between reports of a bucket; less than 100 ms is taken for a little more, as RLQS asks for. Default: a
    /// second.
    pub interval: u64,
    /// A key that was used once and then not for so long is given back, in nanoseconds. Default: ten seconds. One that was
    /// used more often is kept for some ten minutes.
    pub idle: u64,
    /// Buckets that are reported. Default: 100,000; others keep to their fallback.
    pub buckets: usize,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self { domain: super::DOMAIN.into(), interval: SECOND, idle: 10 * SECOND, buckets: 100_000 }
    }
}

/// What a client has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClientCounts {
    /// Messages sent.
    pub sent: u64,
    /// Assignments that were used.
    pub assigned: u64,
    /// Assignments that had ended when they came, or were older than what is used.
    pub late: u64,
    /// Actions for buckets that are not reported, or that say nothing.
    pub unknown: u64,
    /// Buckets that are not reported because there are too many.
    pub refused: u64,
}

#[derive(Debug)]
struct Watch {
    table: Arc<Table>,
    is_keyed: bool,
    /// Nobody looks after its table any more.
    is_left: bool,
    bucket: Arc<Bucket>,
    /// What was taken from the bucket and not reported yet.
    unsent: Usage,
    reported: u64,
    used: u64,
    due: u64,
}

/// The quota client of a proxy.
#[derive(Debug)]
pub struct Client {
    options: ClientOptions,
    tables: BTreeMap<Arc<str>, Arc<Table>>,
    watches: HashMap<Id, Watch>,
    due: BTreeSet<(u64, Id)>,
    is_open: bool,
    is_greeted: bool,
    sequence: u64,
    seen: u64,
    sent: VecDeque<(u64, u64)>,
    pace: Pace,
    swept: u64,
    /// How many proxies may use each limit, as far as was told.
    crowds: BTreeMap<Arc<str>, u32>,
    is_lost: bool,
    counts: ClientCounts,
}

impl Client {
    /// One without limits and without a stream.
    pub fn new(mut options: ClientOptions) -> Self {
        options.interval = options.interval.max(SHORTEST);
        Self {
            options,
            tables: BTreeMap::new(),
            watches: HashMap::new(),
            due: BTreeSet::new(),
            is_open: false,
            is_greeted: false,
            sequence: 0,
            seen: 0,
            sent: VecDeque::new(),
            pace: Pace::new(),
            swept: 0,
            crowds: BTreeMap::new(),
            is_lost: false,
            counts: ClientCounts::default(),
        }
    }

    /// What it has done.
    pub fn counts(&self) -> ClientCounts {
        self.counts
    }

    /// Buckets it reports.
    pub fn watched(&self) -> usize {
        self.watches.len()
    }

    /// The tables to look after, by the names of their limits. What is left of others is given back.
    pub fn look_after(&mut self, now: u64, tables: BTreeMap<Arc<str>, Arc<Table>>) {
        self.tables = tables;
        self.agree(now);
        for (id, watch) in &mut self.watches {
            let is_there = id
                .limit()
                .and_then(|limit| self.tables.get(limit))
                .is_some_and(|table| Arc::ptr_eq(table, &watch.table));
            if !is_there {
                // The next report gives it back.
                watch.is_left = true;
                self.due.remove(&(watch.due, id.clone()));
                watch.due = now;
                self.due.insert((now, id.clone()));
            }
        }
    }

    /// Whether it has been so long without a stream that tables do without: see [`Terms::is_lost`].
    pub fn lost(&mut self, now: u64, is_lost: bool) {
        self.is_lost = is_lost;
        self.agree(now);
    }

    /// Whether there is something to look after.
    pub fn is_idle(&self) -> bool {
        self.tables.is_empty() && self.watches.is_empty()
    }

    /// Tells tables what only we know.
    fn agree(&self, now: u64) {
        for (limit, table) in &self.tables {
            let terms = table.terms();
            let proxies = self.crowds.get(limit).map_or(terms.proxies, |proxies| (*proxies).max(1));
            let agreed = Terms { proxies, is_lost: self.is_lost, ..terms };
            if agreed != terms {
                table.update(now, agreed);
            }
        }
    }

    /// A stream was opened: the first message says the domain, and every bucket is reported anew.
    pub fn opened(&mut self, now: u64) {
        (self.is_open, self.is_greeted, self.seen) = (true, false, 0);
        self.due.clear();
        for (id, watch) in &mut self.watches {
            watch.due = now;
            self.due.insert((now, id.clone()));
        }
    }

    /// The stream is over. Leases hold on until they end.
    pub fn closed(&mut self) {
        self.is_open = false;
    }

    /// Gives everything back: the proxy ends. The message that says so is the next [`poll`](Self::poll)'s.
    pub fn leave(&mut self, now: u64) {
        self.look_after(now, BTreeMap::new());
        self.pace = Pace::new();
    }

    /// The message to send now, if there is one. To be called some 50 times a second, and costs what is due.
    pub fn poll(&mut self, now: u64) -> Option<Reports> {
        if now.saturating_sub(self.swept) >= SWEEP {
            self.swept = now;
            self.tables.values().for_each(|table| table.sweep(now));
        }
        let tables: Vec<_> =
            self.tables.iter().map(|(name, table)| (Arc::clone(name), Arc::clone(table))).collect();
        for (name, table) in tables {
            for attention in table.attention() {
                self.attend(now, &name, &table, attention);
            }
        }
        let is_due = self.due.first().is_some_and(|(at, _)| *at <= now);
        if !self.is_open || !is_due || !self.pace.is_ready(now) {
            return None;
        }
        // What is due soon goes with what is due.
        let soon = now.saturating_add(self.options.interval / 4);
        let mut usages = Vec::new();
        while usages.len() < PER_MESSAGE
            && let Some((_, id)) = self.due.first().filter(|(at, _)| *at <= soon).cloned()
        {
            usages.extend(self.report(now, &id));
        }
        self.pace.sent(now);
        self.sequence += 1;
        self.counts.sent += 1;
        self.sent.push_back((self.sequence, now));
        if self.sent.len() > REMEMBERED {
            self.sent.pop_front();
        }
        let domain = if self.is_greeted { String::new() } else { self.options.domain.clone() };
        self.is_greeted = true;
        Some(Reports { domain, usages, sequence: self.sequence, seen: self.seen })
    }

    fn attend(&mut self, now: u64, limit: &Arc<str>, table: &Arc<Table>, attention: Attention) {
        let Attention { key, bucket } = attention;
        let id = Id::new(limit, key.as_ref());
        let Some(watch) = self.watches.get_mut(&id) else {
            if self.watches.len() >= self.options.buckets {
                self.counts.refused += 1;
                return;
            }
            let (table, is_keyed) = (Arc::clone(table), key.is_some());
            let watch = Watch {
                table,
                is_keyed,
                is_left: false,
                bucket,
                unsent: Usage::default(),
                reported: now.saturating_sub(1),
                used: now,
                due: now,
            };
            self.watches.insert(id.clone(), watch);
            self.due.insert((now, id));
            return;
        };
        let terms = table.terms();
        if !Arc::ptr_eq(&watch.bucket, &bucket) {
            // The table forgot the key, which lost nothing, and has met it again.
            add(&mut watch.unsent, watch.bucket.release(now, &watch.table.terms()));
            (watch.bucket, watch.table, watch.is_left) = (bucket, Arc::clone(table), false);
            watch.used = now;
        } else if watch.bucket.stance(now, &terms) == Stance::Unassigned
            && now.saturating_sub(watch.reported) < self.options.interval
        {
            // It was asked for, and the answer is on its way.
            return;
        }
        self.hurry(now, &id);
    }

    /// Reports a bucket no later than then.
    fn hurry(&mut self, at: u64, id: &Id) {
        if let Some(watch) = self.watches.get_mut(id).filter(|watch| watch.due > at) {
            self.due.remove(&(watch.due, id.clone()));
            watch.due = at;
            self.due.insert((at, id.clone()));
        }
    }

    fn report(&mut self, now: u64, id: &Id) -> Option<BucketUsage> {
        let watch = self.watches.get_mut(id)?;
        self.due.remove(&(watch.due, id.clone()));
        let terms = watch.table.terms();
        let mut usage = std::mem::take(&mut watch.unsent);
        add(&mut usage, watch.bucket.report(now, &terms));
        let is_used = usage.allowed > 0 || usage.denied > 0;
        if is_used {
            watch.used = now;
        }
        let patience = if watch.table.is_crowded() { self.options.interval } else { self.options.idle };
        let is_idle =
            watch.is_keyed && now.saturating_sub(watch.used) >= patience && !watch.bucket.is_known(now);
        let owes = usage.held.is_some_and(|held| held.level == 0 && usage.in_window == 0);
        let is_released = watch.is_left || is_idle && !owes;
        if is_released {
            let held = usage.held;
            add(&mut usage, watch.bucket.release(now, &terms));
            usage.held = held;
        }
        let elapsed = now.saturating_sub(watch.reported).max(1);
        watch.reported = now;
        let is_quiet = watch.is_keyed && !is_used && usage.returned == 0 && usage.spilled == 0;
        let pause = if is_quiet { QUIET } else { 1 };
        watch.due = now.saturating_add(self.options.interval.saturating_mul(pause));
        if is_released {
            self.watches.remove(id);
        } else {
            self.due.insert((watch.due, id.clone()));
        }
        Some(encode(id, elapsed, &usage, is_released))
    }

    /// Does what the server says.
    pub fn apply(&mut self, now: u64, response: &Response) {
        self.seen += 1;
        if !response.crowds.is_empty() {
            // Of limits that are not here yet, too; they are as many as the server has told of.
            for Crowd { limit, proxies, is_least } in response.crowds.iter().take(PER_MESSAGE) {
                let known = self.crowds.get(limit.as_str()).copied().filter(|_| *is_least);
                let known = known
                    .or_else(|| Some(self.tables.get(limit.as_str())?.terms().proxies).filter(|_| *is_least));
                self.crowds.insert(limit.as_str().into(), known.unwrap_or(0).max(*proxies));
            }
            self.agree(now);
        }
        let sent = match response.sequence {
            0 => Some(now),
            sequence => self
                .sent
                .binary_search_by_key(&sequence, |(sequence, _)| *sequence)
                .ok()
                .and_then(|index| self.sent.get(index))
                .map(|(_, at)| *at),
        };
        for action in &response.actions {
            let Ok(id) = Id::decode(action.bucket_id.as_ref()) else {
                self.counts.unknown += 1;
                continue;
            };
            match &action.action {
                Some(Action::Assign(assign)) => self.assign(now, sent, &id, assign),
                Some(Action::Abandon(abandon)) => self.abandon(now, &id, abandon.is_unknown),
                None => self.counts.unknown += 1,
            }
        }
    }

    fn assign(&mut self, now: u64, sent: Option<u64>, id: &Id, assign: &Assign) {
        let Some(watch) = self.watches.get_mut(id) else {
            self.counts.unknown += 1;
            return;
        };
        let terms = watch.table.terms();
        let ttl = assign.time_to_live.map_or(u64::MAX, |span| span.in_nanos());
        let expires = match sent {
            Some(_) if ttl == 0 => now,
            Some(sent) => sent.saturating_add(ttl),
            None => 0,
        };
        let before = watch.bucket.peek(now, &terms).held;
        let held = before.map_or(0, |held| held.version);
        let version = assign.lease.as_ref().map_or(0, |lease| lease.version);
        let is_older = version >> 32 == held >> 32 && version < held;
        if expires < now || (ttl != 0 && expires == now) || is_older {
            self.counts.late += 1;
            // So that the server need not wait for it to end.
            return self.hurry(now, id);
        }
        let (share, tokens) = match &assign.lease {
            // What came with a version came once.
            Some(lease) if lease.version == held => (Some(share_of(lease)), Some(0)),
            Some(lease) => (Some(share_of(lease)), Some(lease.tokens)),
            None => (strategy::decode(&terms.limit, assign.strategy.as_ref()), None),
        };
        // RLQS: usage is reported as it was before an assignment begins.
        add(&mut watch.unsent, watch.bucket.report(now, &terms));
        let is_other = watch.bucket.assign(now, Grant { share, tokens, expires, version }, &terms);
        self.counts.assigned += 1;
        if is_other || version != held {
            // Somebody may be waiting for what is given back; nobody does for what was added.
            let is_less = before
                .and_then(|before| before.share)
                .zip(share)
                .is_some_and(|(before, share)| share.rate < before.rate || share.burst < before.burst);
            self.hurry(if is_less { now } else { now.saturating_add(ADDED) }, id);
        }
    }

    fn abandon(&mut self, now: u64, id: &Id, is_unknown: bool) {
        let Some(watch) = self.watches.get_mut(id) else {
            self.counts.unknown += 1;
            return;
        };
        let terms = watch.table.terms();
        self.due.remove(&(watch.due, id.clone()));
        if is_unknown {
            watch.bucket.disown(now, &terms);
            watch.due = now.saturating_add(5 * self.options.interval);
            self.due.insert((watch.due, id.clone()));
        } else {
            watch.bucket.abandon(now, &terms);
            self.watches.remove(id);
        }
    }

    /// When [`poll`](Self::poll) has something to do, unless a table has something new before.
    pub fn next(&self) -> u64 {
        let due = self.due.first().filter(|_| self.is_open).map(|(at, _)| (*at).max(self.pace.next()));
        due.unwrap_or(u64::MAX).min(self.swept.saturating_add(SWEEP))
    }
}

fn share_of(lease: &super::proto::Lease) -> policies::lease::Share {
    policies::lease::Share { rate: lease.rate, burst: lease.burst }
}

/// What happened is added up; how it stands is as it stood last.
fn add(sum: &mut Usage, usage: Usage) {
    *sum = Usage {
        allowed: sum.allowed.saturating_add(usage.allowed),
        denied: sum.denied.saturating_add(usage.denied),
        unleased: sum.unleased.saturating_add(usage.unleased),
        returned: sum.returned.saturating_add(usage.returned),
        // What is not reported at once is too old.
        spilled: sum.spilled.max(usage.spilled),
        ..usage
    };
}

fn encode(id: &Id, elapsed: u64, usage: &Usage, is_released: bool) -> BucketUsage {
    let share = usage.held.and_then(|held| held.share).unwrap_or_default();
    BucketUsage {
        bucket_id: Some(id.encode()),
        time_elapsed: Some(Span::of(elapsed)),
        allowed: usage.allowed,
        denied: usage.denied,
        lease: Some(LeaseUsage {
            version: usage.held.map_or(0, |held| held.version),
            rate: share.rate,
            burst: share.burst,
            unleased: usage.unleased,
            returned: usage.returned,
            spilled: usage.spilled,
            in_window: usage.in_window,
            level: usage.held.map_or(0, |held| held.level),
            is_released,
        }),
    }
}
