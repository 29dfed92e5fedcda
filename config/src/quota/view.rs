//! What quota servers and proxies show of limits, as JSON: `/limits` of admin ports.

use std::collections::BTreeMap;
use std::sync::Arc;

use policies::lease::{Expired, Limit, MICRO, Mode, Share, Stance, Table};
use serde::{Deserialize, Serialize};

use super::drive::QuotaState;
use super::record::Record;
use super::serve::Quotas;

/// A bucket: its key, and what is known of it.
type Kept<'r> = (Option<&'r str>, &'r Record);

/// Keys of a limit that are shown: those that refused most.
const SHOWN: usize = 20;

/// What one admin port shows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Page {
    /// The quota server, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerView>,
    /// Proxies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub proxies: Vec<ProxyView>,
}

/// What is to be held.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitSpec {
    /// Tokens in a unit.
    pub requests: u64,
    /// The unit, in seconds.
    pub seconds: f64,
    /// Tokens at once; none in a sliding window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u64>,
    /// `TokenBucket` or `SlidingWindow`.
    pub algorithm: String,
}

/// A part of a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ShareView {
    /// Tokens in a unit of the limit.
    pub rate: f64,
    /// Tokens at once.
    pub burst: f64,
}

/// A quota server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerView {
    /// Whether it grants shares; what does not lead knows nothing else.
    pub is_leading: bool,
    /// Proxies with a stream.
    pub streams: usize,
    /// Messages of proxies.
    pub received: u64,
    /// Messages to proxies.
    pub sent: u64,
    /// Reports of buckets for which there was no place.
    pub refused: u64,
    /// Limits with a bucket, by name.
    pub limits: BTreeMap<String, ServerLimit>,
}

/// A limit, as the server knows it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerLimit {
    /// What is to be held.
    #[serde(flatten)]
    pub spec: LimitSpec,
    /// Buckets: one, or one for each key.
    pub buckets: usize,
    /// Tokens admitted, as reported.
    pub allowed: u64,
    /// Tokens refused, as reported.
    pub denied: u64,
    /// The server has just begun to lead: it gives away no more than what proxies had.
    pub is_learning: bool,
    /// Some of the buckets; those that refused most first.
    pub top: Vec<ServerBucket>,
}

/// A bucket, as the server knows it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerBucket {
    /// Of which key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Tokens admitted, as reported.
    pub allowed: u64,
    /// Tokens refused, as reported.
    pub denied: u64,
    /// What each proxy may be using.
    pub leased: BTreeMap<String, ShareView>,
}

/// A proxy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxyView {
    /// `gateway` or `waypoint`.
    pub role: String,
    /// `connected`, `disconnected`, `lost` (for so long that limits do without), or `none`: there is no quota server.
    pub quota: String,
    /// Why it is not connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Messages to the quota server.
    pub sent: u64,
    /// Messages of the quota server.
    pub received: u64,
    /// Its limits, by name.
    pub limits: BTreeMap<String, ProxyLimit>,
}

/// A limit, as a proxy knows it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxyLimit {
    /// What is to be held.
    #[serde(flatten)]
    pub spec: LimitSpec,
    /// Proxies that share it, as far as is known.
    pub proxies: u32,
    /// What holds without a share: `LocalShare`, `LastShare`, `Closed` or `Open`.
    pub on_quota_lost: String,
    /// Requests admitted.
    pub admitted: u64,
    /// Requests refused.
    pub denied: u64,
    /// Keys it holds.
    pub keys: usize,
    /// Requests of keys for which there was no place.
    pub overflowed: u64,
    /// Buckets by what they decide by: `unassigned`, `active`, `reusing`, `expired`, `unknown`.
    pub state: BTreeMap<String, usize>,
    /// The share, of a limit without keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<ShareView>,
}

impl From<&Limit> for LimitSpec {
    fn from(limit: &Limit) -> Self {
        let (burst, algorithm) = match limit.mode() {
            Mode::TokenBucket => (Some(limit.burst()), "TokenBucket"),
            Mode::SlidingWindow => (None, "SlidingWindow"),
        };
        let seconds = std::time::Duration::from_nanos(limit.per()).as_secs_f64();
        Self { requests: limit.amount(), seconds, burst, algorithm: algorithm.to_owned() }
    }
}

impl From<Share> for ShareView {
    fn from(share: Share) -> Self {
        Self { rate: tokens(share.rate), burst: tokens(share.burst) }
    }
}

#[allow(clippy::cast_precision_loss, reason = "for people")]
fn tokens(micros: u64) -> f64 {
    micros as f64 / MICRO as f64
}

impl ServerView {
    /// What a server knows now.
    #[must_use]
    pub fn of(quotas: &Quotas) -> Self {
        let limits: Option<BTreeMap<String, ServerLimit>> = quotas.look(|server, now| {
            let mut limits: BTreeMap<String, (ServerLimit, Vec<Kept<'_>>)> = BTreeMap::new();
            for ((_, id), record) in server.records().iter() {
                let name = id.limit().unwrap_or_default();
                if !limits.contains_key(name) {
                    let spec = LimitSpec::from(record.limit());
                    limits.insert(
                        name.to_owned(),
                        (ServerLimit { spec, ..ServerLimit::default() }, Vec::new()),
                    );
                }
                let Some((limit, records)) = limits.get_mut(name) else { continue };
                limit.buckets += 1;
                limit.allowed = limit.allowed.saturating_add(record.allowed());
                limit.denied = limit.denied.saturating_add(record.denied());
                limit.is_learning |= record.is_learning(now);
                records.push((id.key(), record));
            }
            limits.into_iter().map(|(name, (limit, records))| (name, limit.with_top(records))).collect()
        });
        let counts = quotas.counts();
        Self {
            is_leading: counts.is_leading,
            streams: counts.streams,
            received: counts.server.received,
            sent: counts.server.sent,
            refused: counts.server.refused,
            limits: limits.unwrap_or_default(),
        }
    }
}

impl ServerLimit {
    fn with_top(mut self, mut records: Vec<Kept<'_>>) -> Self {
        let rank = |(key, record): &Kept<'_>| {
            std::cmp::Reverse((record.denied(), record.allowed(), key.map(str::to_owned)))
        };
        if records.len() > SHOWN {
            records.select_nth_unstable_by_key(SHOWN, rank);
            records.truncate(SHOWN);
        }
        records.sort_by_cached_key(rank);
        self.top = records.into_iter().map(|(key, record)| ServerBucket::of(key, record)).collect();
        self
    }
}

impl ServerBucket {
    fn of(key: Option<&str>, record: &Record) -> Self {
        let leased = record.holders().map(|(client, holding)| (client.to_owned(), holding.out().into()));
        Self {
            key: key.map(str::to_owned),
            allowed: record.allowed(),
            denied: record.denied(),
            leased: leased.collect(),
        }
    }
}

impl ProxyView {
    /// What a proxy says of itself; its limits are to be added.
    #[must_use]
    pub fn of(role: &str, state: &QuotaState) -> Self {
        let quota = match state {
            QuotaState { has_server: false, .. } => "none",
            QuotaState { is_connected: true, .. } => "connected",
            QuotaState { is_lost: true, .. } => "lost",
            QuotaState { .. } => "disconnected",
        };
        Self {
            role: role.to_owned(),
            quota: quota.to_owned(),
            problem: state.problem.clone(),
            sent: state.client.sent,
            received: state.received,
            limits: BTreeMap::new(),
        }
    }
}

impl ProxyLimit {
    /// What a table says at this time, and how many requests it decided. Costs a look at each key.
    #[must_use]
    pub fn of(now: u64, table: &Arc<Table>, admitted: u64, denied: u64) -> Self {
        let (terms, counts) = (table.terms(), table.counts());
        let (mut state, mut share) = (BTreeMap::<String, usize>::new(), None);
        table.each(|key, bucket| {
            *state.entry(stance(bucket.stance(now, &terms)).to_owned()).or_default() += 1;
            if key.is_none() {
                share = bucket.peek(now, &terms).held.and_then(|held| held.share).map(ShareView::from);
            }
        });
        let on_quota_lost = match terms.expired {
            Expired::Closed => "Closed",
            Expired::Open => "Open",
            Expired::LastShare => "LastShare",
            Expired::LocalShare => "LocalShare",
        };
        Self {
            spec: LimitSpec::from(&terms.limit),
            proxies: terms.proxies,
            on_quota_lost: on_quota_lost.to_owned(),
            admitted,
            denied,
            keys: counts.keys,
            overflowed: counts.overflowed,
            state,
            share,
        }
    }
}

/// As it is written.
#[must_use]
pub fn stance(stance: Stance) -> &'static str {
    match stance {
        Stance::Unassigned => "unassigned",
        Stance::Active => "active",
        Stance::Reusing => "reusing",
        Stance::Expired => "expired",
        Stance::Unknown => "unknown",
    }
}
