//! Who of a bucket's clients is to be told of another share: less first, and more only of what nobody may be using.

use std::collections::BTreeMap;
use std::sync::Arc;

use policies::lease::{MICRO, Mode, Share};

use super::divide::{divide, whole};
use super::holding::{Holding, Rules};
use super::record::{Record, signed};

/// Turns of who gets a token when there are fewer tokens than clients.
const TURN: u64 = 5_000_000_000;

/// What a client is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) client: Arc<str>,
    pub(super) share: Share,
    pub(super) tokens: u64,
    pub(super) version: u64,
}

/// One look at who should have what.
pub(super) struct Round<'a> {
    pub(super) now: u64,
    pub(super) rules: Rules,
    /// Clients that may come for a share.
    pub(super) clients: u64,
    /// In which message of which stream a client can be told something.
    pub(super) hears: &'a dyn Fn(&str) -> Option<(u64, u64)>,
    pub(super) version: &'a mut u64,
    pub(super) told: Vec<Told>,
}

type Targets = BTreeMap<Arc<str>, Share>;

impl Round<'_> {
    /// Whether a client can be told something now: it listens, and nothing is on its way to it.
    fn reaches(&self, client: &str, holding: &Holding) -> bool {
        holding.is_watching && holding.pending.is_none() && (self.hears)(client).is_some()
    }
}

impl Record {
    /// Decides what has to be said now, and to whom. What is given away here counts from here on.
    pub(super) fn allot(&mut self, round: &mut Round<'_>) {
        self.advance(round.now);
        self.is_due = false;
        let capacity = self.capacity(round.now);
        let targets = self.targets(capacity, round);
        if self.is_needed(capacity, &targets) {
            self.lower(&targets, round);
        }
        self.raise(capacity, &targets, round);
        self.spread(capacity, round);
        self.renew(round);
    }

    /// What each watching client should have.
    fn targets(&self, capacity: Share, round: &Round<'_>) -> Targets {
        // Who cannot be told keeps what it has; what was used by who is gone is nobody's before its window has passed.
        let is_here =
            |client: &str, holding: &Holding| holding.is_watching && (round.hears)(client).is_some();
        let (here, gone): (Vec<_>, Vec<_>) =
            self.holders.iter().partition(|(client, holding)| is_here(client, holding));
        let gone = gone.into_iter().map(|(_, holding)| holding.out());
        let (gone_rate, gone_burst) = gone
            .fold((0u64, 0u64), |sum, out| (sum.0.saturating_add(out.rate), sum.1.saturating_add(out.burst)));
        let rate = capacity.rate.saturating_sub(gone_rate);
        let burst = capacity.burst.saturating_sub(gone_burst);
        let heads = (here.len() as u64).max(1);
        let floor = rate / 32 / heads;
        let wants: Vec<u64> = here.iter().map(|(_, holding)| holding.wants(&self.limit, floor)).collect();
        let mut rates = divide(rate, &wants, round.clients);
        let is_window = self.limit.mode() == Mode::SlidingWindow;
        if is_window {
            whole(rate, MICRO, &mut rates, round.now / TURN);
        }
        // Half by heads, since a small share varies more for its size than a great one.
        let even = burst / 2 / heads.max(round.clients);
        let burst_of = |mine: u64| {
            let by_rate = u128::from(burst / 2) * u128::from(mine) / u128::from(rate.max(1));
            let floor = if is_window || mine == 0 { 0 } else { MICRO };
            even.saturating_add(u64::try_from(by_rate).unwrap_or(0)).max(floor)
        };
        let share = |rate: u64| Share { rate, burst: burst_of(rate) };
        here.into_iter().zip(rates).map(|((client, _), rate)| (Arc::clone(client), share(rate))).collect()
    }

    /// Whether somebody needs more than there is to give, or more is out than there may be.
    fn is_needed(&self, capacity: Share, targets: &Targets) -> bool {
        let out = self.out();
        let free = capacity.rate.saturating_sub(out.rate);
        let step = (capacity.rate / 1024).max(1);
        let missing = |(client, holding): (&Arc<str>, &Holding)| {
            let target = targets.get(client)?.rate.min(holding.wants(&self.limit, MICRO));
            let missing = target.saturating_sub(holding.share.rate);
            (missing >= step || holding.share.rate == 0).then_some(missing)
        };
        let waiting = self.holders.iter().filter(|(_, holding)| holding.pending.is_none());
        waiting.filter_map(missing).sum::<u64>() > free || out.rate > capacity.rate
    }

    fn lower(&mut self, targets: &Targets, round: &mut Round<'_>) {
        for (client, holding) in &mut self.holders {
            let Some(target) = targets.get(client) else { continue };
            let is_much = target.rate < holding.share.rate - holding.share.rate / 128;
            if !is_much || !round.reaches(client, holding) {
                continue;
            }
            let share = Share { rate: target.rate, burst: target.burst.min(holding.share.burst) };
            // A new bucket of one that knows nothing of leases is full.
            let tokens = if holding.is_plain { share.burst } else { 0 };
            self.level = self.level.saturating_sub(signed(tokens));
            holding.tell(client, share, tokens, round);
        }
    }

    /// Gives away what may not be in use, in proportion to what is missing.
    fn raise(&mut self, capacity: Share, targets: &Targets, round: &mut Round<'_>) {
        let limit = self.limit;
        let step = (capacity.rate / 4096).max(1);
        let short = |client: &Arc<str>, holding: &Holding| {
            let missing = targets.get(client)?.rate.saturating_sub(holding.out().rate);
            let needs = holding.wants(&limit, MICRO) > holding.share.rate && missing >= step;
            let is_worth_it = needs || holding.share.rate == 0 || missing > holding.share.rate / 16;
            (missing > 0 && is_worth_it).then_some(missing)
        };
        let short: BTreeMap<_, _> = self
            .holders
            .iter()
            .filter(|(client, holding)| round.reaches(client, holding))
            .filter_map(|(client, holding)| Some((Arc::clone(client), short(client, holding)?)))
            .collect();
        let mut missing: u64 = short.values().sum();
        let out = self.out();
        let mut free = Share {
            rate: capacity.rate.saturating_sub(out.rate),
            burst: capacity.burst.saturating_sub(out.burst),
        };
        for (client, mine) in short {
            let part = |of: u64| {
                let part = u128::from(of) * u128::from(mine) / u128::from(missing.max(1));
                u64::try_from(part).unwrap_or(of)
            };
            let unit = if limit.mode() == Mode::SlidingWindow { MICRO } else { 1 };
            let raise = mine.min(part(free.rate)) / unit * unit;
            let there = part(u64::try_from(self.level).unwrap_or(0));
            missing -= mine;
            let (Some(holding), Some(target)) = (self.holders.get_mut(&client), targets.get(&client)) else {
                continue;
            };
            if raise == 0 {
                continue;
            }
            let more = target.burst.saturating_sub(holding.share.burst).min(free.burst);
            let floor = if limit.mode() == Mode::TokenBucket { MICRO } else { 0 };
            let mut share = Share {
                rate: holding.share.rate.saturating_add(raise),
                burst: holding.share.burst.saturating_add(more).max(floor),
            };
            if holding.is_plain {
                share.burst = share.burst.min((there / MICRO * MICRO).max(floor));
            }
            let tokens = if holding.is_plain { share.burst } else { there.min(share.burst) };
            self.level = self.level.saturating_sub(signed(tokens));
            free.rate = free.rate.saturating_sub(raise);
            free.burst = free.burst.saturating_sub(share.burst.saturating_sub(holding.share.burst));
            holding.tell(&client, share, tokens, round);
        }
        self.cap();
    }

    /// Gives tokens that came back to those who were refused some.
    fn spread(&mut self, capacity: Share, round: &mut Round<'_>) {
        let least = (capacity.rate / 256).max(MICRO);
        let there = u64::try_from(self.level).unwrap_or(0);
        let refused = |round: &Round<'_>, client: &str, holding: &Holding| {
            holding.is_refused && !holding.is_plain && holding.version != 0 && round.reaches(client, holding)
        };
        let heads =
            self.holders.iter().filter(|(client, holding)| refused(round, client, holding)).count() as u64;
        if self.limit.mode() == Mode::SlidingWindow || heads == 0 || there / heads < least {
            return;
        }
        for (client, holding) in &mut self.holders {
            if refused(round, client, holding) {
                let (share, tokens) = (holding.share, (there / heads).min(holding.share.burst));
                self.level = self.level.saturating_sub(signed(tokens));
                holding.tell(client, share, tokens, round);
            }
        }
    }

    /// Lengthens what has not changed for a while.
    fn renew(&mut self, round: &mut Round<'_>) {
        for (client, holding) in &mut self.holders {
            let is_old = round.now.saturating_sub(holding.renewed) >= round.rules.ttl / 4;
            let is_held = holding.version != 0 && holding.share != Share::default();
            if is_held && is_old && round.reaches(client, holding) {
                holding.expires = holding.expires.max(round.now.saturating_add(round.rules.counts_for));
                holding.renewed = round.now;
                let (client, share, version) = (Arc::clone(client), holding.share, holding.version);
                round.told.push(Told { client, share, tokens: 0, version });
            }
        }
    }
}
