//! The quota server: streams of clients around [`Record`]s.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use policies::lease::{Limit, Mode, Share};

use super::allot::{Round, Told};
use super::holding::{Rules, Said, SaidOfLease};
use super::id::{BadBucket, Id};
use super::memory::{Name, Records};
use super::proto::{
    Abandon, Action, Assign, BucketAction, BucketUsage, Crowd, Lease, Reports, Response, Span,
};
use super::record::Record;
use super::{PER_MESSAGE, Pace, strategy};

mod handover;

pub use self::handover::{Left, News};

const SECOND: u64 = 1_000_000_000;
/// A sliding window is learned about for no longer than this beyond the leases.
const LONGEST_WINDOW: u64 = 60 * SECOND;

/// How leases are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerOptions {
    /// How long a lease holds, in nanoseconds. Default: a minute. Who cannot be heard keeps its share so long.
    pub ttl: u64,
    /// How long clients go on with one that has ended, in nanoseconds, whatever [`Limited::reuse`] says. Default: 0.
    pub reuse: u64,
    /// Buckets that are kept. Default: 100,000. Clients of others stay without an assignment.
    pub buckets: usize,
    /// Whether clients may have leases of a server before this one. Default: true.
    pub learns: bool,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self { ttl: 60 * SECOND, reuse: 0, buckets: 100_000, learns: true }
    }
}

/// What is to be held, and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limited {
    /// How much.
    pub limit: Limit,
    /// [`Terms::reuse`](policies::lease::Terms::reuse) of its clients, in nanoseconds.
    pub reuse: u64,
    /// How many clients may come for a share. `None`: all there are.
    pub proxies: Option<u32>,
}

impl From<Limit> for Limited {
    fn from(limit: Limit) -> Self {
        Self { limit, reuse: 0, proxies: None }
    }
}

/// What is limited, and to how much: the configuration.
pub trait Limits {
    /// The limit of a bucket; `None` when there is none, so that clients keep to what they know of it.
    fn limit(&self, domain: &str, id: &Id) -> Option<Limited>;
}

/// Why a stream has to end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadReport {
    /// No stream of that client was opened.
    #[error("no stream of {0} is open")]
    NoStream(String),
    /// The first message says which domain.
    #[error("domain is empty: send it in the first message of a stream")]
    NoDomain,
    /// It holds for the stream.
    #[error("domain changed from {0} to {1}: open another stream")]
    OtherDomain(String, String),
}

/// What a server has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ServerCounts {
    /// Messages received.
    pub received: u64,
    /// Messages sent.
    pub sent: u64,
    /// Reports that were passed over: no bucket, or a bad one.
    pub bad: u64,
    /// Reports of buckets that no limit is known for.
    pub unknown: u64,
    /// Reports of buckets for which there was no place.
    pub refused: u64,
}

#[derive(Debug)]
struct Stream {
    number: u64,
    domain: Option<Arc<str>>,
    sequence: u64,
    pace: Pace,
    sent: u64,
    outbox: Vec<BucketAction>,
    crowds: Vec<Crowd>,
    /// [`Reports::sequence`] when the oldest in the outbox was put there: leases are counted from that.
    answers: u64,
}

impl Stream {
    fn has_nothing(&self) -> bool {
        self.outbox.is_empty() && self.crowds.is_empty()
    }

    /// The stream, and the message that what is put into the outbox now goes out in.
    fn next_message(&self) -> (u64, u64) {
        (self.number, self.sent + 1 + (self.outbox.len() / PER_MESSAGE) as u64)
    }
}

/// A quota server.
#[derive(Debug)]
pub struct Server<R> {
    options: ServerOptions,
    records: R,
    started: u64,
    version: u64,
    streams: BTreeMap<Arc<str>, Stream>,
    opened: u64,
    due: BTreeSet<Name>,
    swept: u64,
    counts: ServerCounts,
    news: Option<News>,
}

impl<R: Records> Server<R> {
    /// One that starts now, and does not know what others gave away before. `epoch` differs for each start: of two servers
    /// the later one's is greater.
    pub fn new(now: u64, epoch: u32, options: ServerOptions, records: R) -> Self {
        Self {
            options,
            records,
            started: now,
            version: u64::from(epoch.max(1)) << 32,
            streams: BTreeMap::new(),
            opened: 0,
            due: BTreeSet::new(),
            swept: now,
            counts: ServerCounts::default(),
            news: None,
        }
    }

    /// What it has done.
    pub fn counts(&self) -> ServerCounts {
        self.counts
    }

    /// Where its records are.
    pub fn records(&self) -> &R {
        &self.records
    }

    /// A client opened a stream; one it had before is over. `client` is who it proved to be, the same after a break.
    pub fn opened(&mut self, client: &str) {
        self.opened += 1;
        let stream = Stream {
            number: self.opened,
            domain: None,
            sequence: 0,
            pace: Pace::new(),
            sent: 0,
            outbox: Vec::new(),
            crowds: Vec::new(),
            answers: 0,
        };
        self.streams.insert(client.into(), stream);
    }

    /// Tells a client how many may use limits, where that is new. It may be told before it has said anything.
    pub fn tell(&mut self, client: &str, crowds: impl IntoIterator<Item = Crowd>) {
        if let Some(stream) = self.streams.get_mut(client) {
            stream.crowds.extend(crowds);
        }
    }

    /// A client's stream is over. What it has stays its own until it ends.
    pub fn closed(&mut self, client: &str) {
        self.streams.remove(client);
    }

    /// Takes in a message.
    pub fn report(
        &mut self,
        now: u64,
        client: &str,
        reports: &Reports,
        limits: &dyn Limits,
    ) -> Result<(), BadReport> {
        self.counts.received += 1;
        let Some((client, stream)) =
            self.streams.get_key_value(client).map(|(client, _)| Arc::clone(client)).and_then(|client| {
                let stream = self.streams.get_mut(&client)?;
                Some((client, stream))
            })
        else {
            return Err(BadReport::NoStream(client.to_owned()));
        };
        let domain = match &stream.domain {
            None if reports.domain.is_empty() => return Err(BadReport::NoDomain),
            None => Arc::clone(stream.domain.insert(reports.domain.as_str().into())),
            Some(domain) if !reports.domain.is_empty() && **domain != *reports.domain => {
                return Err(BadReport::OtherDomain(domain.to_string(), reports.domain.clone()));
            }
            Some(domain) => Arc::clone(domain),
        };
        stream.sequence = reports.sequence;
        let after = (stream.number, reports.seen);
        for usage in reports.usages.iter().take(PER_MESSAGE) {
            match Id::decode(usage.bucket_id.as_ref()) {
                Ok(id) => self.take_in(now, (Arc::clone(&domain), id), &client, &said(after, usage), limits),
                Err(BadBucket::Empty | BadBucket::EmptyPair | BadBucket::TooLarge) => self.counts.bad += 1,
            }
        }
        self.counts.bad += reports.usages.len().saturating_sub(PER_MESSAGE) as u64;
        Ok(())
    }

    fn take_in(&mut self, now: u64, name: Name, client: &Arc<str>, said: &Said, limits: &dyn Limits) {
        let Some(limited) = limits.limit(&name.0, &name.1) else {
            self.counts.unknown += 1;
            // Those who know the limit keep to an equal part of it; others to what they were configured with. To admit or
            // to refuse everything would be an answer of somebody who does not know the question.
            let abandon = Action::Abandon(Abandon { is_unknown: true });
            return self.put(client, &name.1, abandon);
        };
        let Limited { limit, reuse, proxies } = limited;
        let rules = rules(&self.options, reuse);
        let learns_until = self.learns_until(&limit, rules);
        let new = Record::new(now, limit, learns_until);
        let is_kept = self.records.change(&name, Some(new), &mut |record| {
            record.limit_to(now, limit);
            (record.reuse, record.proxies) = (reuse, proxies);
            record.report(now, client, said, rules);
        });
        if is_kept {
            self.due.insert(name);
        } else {
            self.counts.refused += 1;
        }
    }

    fn learns_until(&self, limit: &Limit, rules: Rules) -> u64 {
        if !self.options.learns {
            return self.started;
        }
        let window = match limit.mode() {
            Mode::TokenBucket => 0,
            Mode::SlidingWindow => limit.per().min(LONGEST_WINDOW),
        };
        self.started.saturating_add(rules.counts_for).saturating_add(window)
    }

    fn put(&mut self, client: &Arc<str>, id: &Id, action: Action) {
        if let Some(stream) = self.streams.get_mut(client) {
            if stream.outbox.is_empty() {
                stream.answers = stream.sequence;
            }
            stream.outbox.push(BucketAction { bucket_id: Some(id.encode()), action: Some(action) });
        }
    }

    /// Divides what has to be divided again, and says which messages go out now.
    pub fn poll(&mut self, now: u64) -> Vec<(Arc<str>, Response)> {
        if now.saturating_sub(self.swept) >= SECOND {
            self.swept = now;
            let (due, news) = (&mut self.due, &mut self.news);
            self.records.retain(&mut |name, record| {
                record.advance(now);
                if record.is_due {
                    due.insert(name.clone());
                }
                let is_kept = !record.is_blank(now);
                if !is_kept && let Some(news) = news {
                    news.untold.insert(name.clone());
                }
                is_kept
            });
        }
        for name in std::mem::take(&mut self.due) {
            self.divide(now, &name);
        }
        let mut out = Vec::new();
        for (client, stream) in &mut self.streams {
            if stream.has_nothing() || !stream.pace.is_ready(now) {
                continue;
            }
            stream.pace.sent(now);
            stream.sent += 1;
            let rest = stream.outbox.split_off(stream.outbox.len().min(PER_MESSAGE));
            let actions = std::mem::replace(&mut stream.outbox, rest);
            let crowds = std::mem::take(&mut stream.crowds);
            out.push((Arc::clone(client), Response { actions, sequence: stream.answers, crowds }));
        }
        self.counts.sent += out.len() as u64;
        out
    }

    fn divide(&mut self, now: u64, name: &Name) {
        let (options, mut version) = (self.options, self.version);
        let (mut told, mut limit) = (Vec::new(), None);
        let streams = &self.streams;
        let domain = &name.0;
        let is_here = |stream: &&Stream| stream.domain.as_ref() == Some(domain);
        let hears = |client: &str| streams.get(client).filter(is_here).map(Stream::next_message);
        let clients = streams.values().filter(is_here).count() as u64;
        self.records.change(name, None, &mut |record| {
            let rules = rules(&options, record.reuse);
            let clients = record.proxies.map_or(clients, u64::from);
            let mut round =
                Round { now, rules, clients, hears: &hears, version: &mut version, told: Vec::new() };
            record.allot(&mut round);
            told = round.told;
            limit = Some(record.limit);
        });
        self.version = version;
        if let Some(News { told: news, untold }) = &mut self.news {
            (if told.is_empty() { untold } else { news }).insert(name.clone());
        }
        let Some(limit) = limit else { return };
        for Told { client, share, tokens, version } in told {
            let lease = Lease { version, rate: share.rate, burst: share.burst, tokens };
            let assign = Assign {
                time_to_live: Some(Span::of(options.ttl)),
                strategy: Some(strategy::encode(&limit, share)),
                lease: Some(lease),
            };
            self.put(&client, &name.1, Action::Assign(assign));
        }
    }

    /// When [`poll`](Self::poll) has something to do, unless a report comes before.
    pub fn next(&self) -> u64 {
        let sweep = self.swept.saturating_add(SECOND);
        let waiting = self.streams.values().filter(|stream| !stream.has_nothing());
        let ready = waiting.map(|stream| stream.pace.next()).min();
        let due = if self.due.is_empty() { None } else { Some(0) };
        [Some(sweep), ready, due].into_iter().flatten().min().unwrap_or(sweep)
    }
}

fn rules(options: &ServerOptions, reuse: u64) -> Rules {
    Rules { ttl: options.ttl, counts_for: options.ttl.saturating_add(reuse.max(options.reuse)) }
}

fn said(after: (u64, u64), usage: &BucketUsage) -> Said {
    Said {
        after,
        elapsed: usage.time_elapsed.map_or(0, |span| span.in_nanos()),
        allowed: usage.allowed,
        denied: usage.denied,
        lease: usage.lease.as_ref().map(|lease| SaidOfLease {
            version: lease.version,
            share: Share { rate: lease.rate, burst: lease.burst },
            unleased: lease.unleased,
            returned: lease.returned,
            spilled: lease.spilled,
            in_window: lease.in_window,
            is_released: lease.is_released,
        }),
    }
}
