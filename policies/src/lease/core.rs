//! How a bucket decides: sequential, one call after the other.

use super::decide::{Decision, MILLISECOND, in_a_millisecond, take_level, take_window};
use super::level::Level;
use super::limit::{Expired, Limit, MICRO, Mode, Share, Terms};
use super::report::{Grant, Held, SPILL, Stance, Usage};
use super::window::{EXACT, Window};

/// A key that was used more than once is remembered so long after its last use, though nothing would be lost by forgetting
/// it: those who come once must not take the places of those who come back.
const REMEMBERED: u64 = 600_000 * MILLISECOND;

#[derive(Debug, Clone)]
enum Meter {
    Level(Level),
    Window(Window),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Unassigned,
    Leased(Grant),
    Unknown,
}

/// What holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    All,
    Nothing,
    /// The fallback before an assignment.
    Gate(Share),
    Share(Share),
}

#[derive(Debug)]
pub(super) struct Core {
    standing: Standing,
    meter: Meter,
    /// It began as a bucket of its own, because nobody could be asked.
    is_alone: bool,
    gate: Level,
    /// Tokens in the purse when it was opened, and when it has to be closed.
    drawn: u64,
    open_until: u64,
    usage: Usage,
    used_at: u64,
    /// Reports in which something was admitted, as far as that matters.
    uses: u8,
}

impl Core {
    /// A bucket nobody has used; `is_fresh` when that is known.
    pub(super) fn new(now: u64, terms: &Terms, is_fresh: bool) -> Self {
        let gate = if is_fresh { terms.fallback().burst } else { 0 };
        let mut core = Self {
            standing: Standing::Unassigned,
            meter: Meter::new(now, &terms.limit),
            is_alone: !is_fresh,
            gate: Level::new(now, gate),
            drawn: 0,
            open_until: 0,
            usage: Usage::default(),
            used_at: now,
            uses: 0,
        };
        core.be_alone(now, terms);
        core
    }

    /// Nobody can be asked: what has no lease begins full, once, but for what the fallback admitted.
    pub(super) fn be_alone(&mut self, now: u64, terms: &Terms) {
        if !terms.is_lost || self.is_alone || self.standing != Standing::Unassigned {
            return;
        }
        self.is_alone = true;
        let fallback = terms.fallback();
        self.gate.fill(now, fallback, terms.limit.per(), 0);
        let used = fallback.burst.saturating_sub(self.gate.micros());
        if let Meter::Level(level) = &mut self.meter {
            *level = Level::new(now, terms.local().burst.saturating_sub(used));
        }
    }

    /// Whether it was used in more than one report, and not long ago.
    pub(super) fn is_known(&self, now: u64) -> bool {
        self.uses > 1 && now.saturating_sub(self.used_at) < REMEMBERED
    }

    /// What holds, and until when nothing else can.
    fn rule(&self, now: u64, terms: &Terms) -> (Rule, Stance, u64) {
        let whole_or = |share: Option<Share>| share.map_or(Rule::All, Rule::Share);
        let lost = |last: Rule| match terms.expired {
            Expired::Closed => Rule::Nothing,
            Expired::Open => Rule::All,
            Expired::LastShare => last,
            Expired::LocalShare => Rule::Share(terms.local()),
        };
        match self.standing {
            Standing::Unassigned if terms.is_lost => {
                (lost(Rule::Share(terms.local())), Stance::Expired, u64::MAX)
            }
            Standing::Unassigned => (Rule::Gate(terms.fallback()), Stance::Unassigned, u64::MAX),
            Standing::Unknown => (Rule::Share(terms.local()), Stance::Unknown, u64::MAX),
            Standing::Leased(grant) => {
                let reserved = grant.expires.saturating_add(terms.reuse);
                if now < grant.expires {
                    (whole_or(grant.share), Stance::Active, grant.expires)
                } else if now < reserved {
                    (whole_or(grant.share), Stance::Reusing, reserved)
                } else {
                    (lost(whole_or(grant.share)), Stance::Expired, u64::MAX)
                }
            }
        }
    }

    pub(super) fn stance(&self, now: u64, terms: &Terms) -> Stance {
        self.rule(now, terms).1
    }

    /// Puts back what is left in the purse.
    pub(super) fn settle(&mut self, now: u64, left: u64, terms: &Terms) {
        if self.drawn == 0 {
            return;
        }
        let used = self.drawn.saturating_sub(left);
        self.usage.allowed = self.usage.allowed.saturating_add(used);
        // A purse is open no longer than the rule that it was filled by.
        if !self.is_leased(now.min(self.open_until.saturating_sub(1)), terms) {
            self.usage.unleased = self.usage.unleased.saturating_add(used);
        }
        // What was in the purse had its place in the bucket: nothing came back for it yet.
        self.fill(now, terms);
        match &mut self.meter {
            Meter::Level(level) => {
                level.give(left.min(self.drawn).saturating_mul(MICRO));
            }
            Meter::Window(window) => window.add(now.min(self.open_until), used, self.drawn * EXACT),
        }
        self.drawn = 0;
    }

    /// Lets come back what has. What does not fit a lease is the server's again, who gives it to those that want it.
    fn fill(&mut self, now: u64, terms: &Terms) {
        let (Rule::Share(share), stance, _) = self.rule(now, terms) else { return };
        let Meter::Level(level) = &mut self.meter else { return };
        let over = level.fill(now, share, terms.limit.per(), self.drawn.saturating_mul(MICRO));
        if stance == Stance::Active {
            self.usage.spilled = self.usage.spilled.saturating_add(over).min(share.burst / SPILL);
        }
    }

    pub(super) fn take(&mut self, now: u64, cost: u64, terms: &Terms) -> Decision {
        self.conform(now, terms);
        self.fill(now, terms);
        let (rule, _, until) = self.rule(now, terms);
        let limit = &terms.limit;
        let mut decision = match rule {
            Rule::All => Decision::admitted(u64::MAX, 0),
            Rule::Nothing => Decision::refused(now, 0, u64::MAX, u64::MAX),
            Rule::Gate(share) => {
                self.gate.fill(now, share, limit.per(), 0);
                take_level(&mut self.gate, now, cost, share, limit)
            }
            Rule::Share(share) => match &mut self.meter {
                Meter::Level(level) => take_level(level, now, cost, share, limit),
                Meter::Window(window) => take_window(window, now, cost, share, limit),
            },
        };
        decision.closed_until = decision.closed_until.min(until);
        if decision.is_admitted {
            decision.is_news = matches!(rule, Rule::Gate(_)) && self.usage.allowed == 0;
            self.usage.allowed = self.usage.allowed.saturating_add(cost);
            if !self.is_leased(now, terms) {
                self.usage.unleased = self.usage.unleased.saturating_add(cost);
            }
            if let (Meter::Window(window), false) = (&mut self.meter, matches!(rule, Rule::Share(_))) {
                window.expire(now, limit.per());
                window.add(now, cost, limit.amount());
            }
        }
        decision
    }

    /// Takes without asking: what a request turned out to cost.
    pub(super) fn charge(&mut self, now: u64, cost: u64, terms: &Terms) {
        self.conform(now, terms);
        self.usage.allowed = self.usage.allowed.saturating_add(cost);
        let is_gated = matches!(self.rule(now, terms).0, Rule::Gate(_));
        if !self.is_leased(now, terms) {
            self.usage.unleased = self.usage.unleased.saturating_add(cost);
        }
        if is_gated {
            self.gate.spend(cost.saturating_mul(MICRO));
        }
        match &mut self.meter {
            Meter::Level(level) if !is_gated => level.spend(cost.saturating_mul(MICRO)),
            Meter::Level(_) => {}
            Meter::Window(window) => window.add(now, cost, terms.limit.amount()),
        }
    }

    /// Puts back what a request took and did not use.
    pub(super) fn give_back(&mut self, now: u64, cost: u64, terms: &Terms) {
        self.conform(now, terms);
        self.usage.allowed = self.usage.allowed.saturating_sub(cost);
        let (rule, _, _) = self.rule(now, terms);
        if !self.is_leased(now, terms) {
            // What was reported is the server's to count.
            let back = cost.min(self.usage.unleased);
            self.usage.unleased -= back;
            if matches!(rule, Rule::Gate(_)) {
                self.gate.give(back.saturating_mul(MICRO));
            }
        }
        match &mut self.meter {
            Meter::Level(level) if matches!(rule, Rule::Share(_)) => level.give(cost.saturating_mul(MICRO)),
            Meter::Level(_) => {}
            Meter::Window(window) => window.give_back(cost),
        }
    }

    /// Whether what is admitted is of a share that somebody keeps for this bucket.
    fn is_leased(&self, now: u64, terms: &Terms) -> bool {
        matches!(self.stance(now, terms), Stance::Active | Stance::Reusing)
    }

    /// Moves tokens to the purse, from where they are taken without the lock: how many, and until when. So the lock is
    /// taken about a thousand times in a second or window at most, whatever the limit.
    pub(super) fn draw(&mut self, now: u64, terms: &Terms) -> Option<(u64, u64)> {
        let (Rule::Share(share), _, until) = self.rule(now, terms) else { return None };
        let per = terms.limit.per();
        let (tokens, open_for) = match &mut self.meter {
            Meter::Level(level) => {
                let some = in_a_millisecond(share, per).max(level.tokens() / 64).min(level.tokens());
                (some, 10 * MILLISECOND)
            }
            Meter::Window(window) => {
                let capacity = share.rate / MICRO;
                // One entry of the log; of a log that is exact, nothing.
                let grain = if capacity > EXACT { capacity / EXACT } else { 0 };
                (grain.min(capacity.saturating_sub(window.used())), per / EXACT)
            }
        };
        if tokens < 2 {
            return None;
        }
        if let Meter::Level(level) = &mut self.meter {
            level.spend(tokens * MICRO);
        }
        self.drawn = tokens;
        self.open_until = until.min(now.saturating_add(open_for));
        Some((tokens, self.open_until))
    }

    /// Begins to use a lease; what is in the purse was settled. Says whether anything but its end changed.
    pub(super) fn assign(&mut self, now: u64, grant: Grant, terms: &Terms) -> bool {
        self.conform(now, terms);
        self.fill(now, terms);
        let (_, stance, _) = self.rule(now, terms);
        let is_first = !matches!(stance, Stance::Active | Stance::Reusing);
        let is_same = matches!(self.standing, Standing::Leased(old) if !is_first && old.share == grant.share);
        let was_unassigned = self.standing == Standing::Unassigned;
        (self.standing, self.is_alone) = (Standing::Leased(grant), false);
        let Meter::Level(level) = &mut self.meter else { return !is_same };
        if is_first {
            let debt = level.signed_micros().min(0).unsigned_abs();
            let full = grant.share.map_or(0, |share| share.burst);
            *level = Level::new(now, grant.tokens.unwrap_or(full));
            level.spend(debt);
            if was_unassigned {
                // What the fallback admitted since it asked is paid with these tokens: the server, who would learn of it with
                // the next report, may have given away all it had by then.
                let paid = self.usage.unleased.min(level.tokens());
                level.spend(paid * MICRO);
                self.usage.unleased -= paid;
            }
        } else {
            level.give(grant.tokens.unwrap_or(0));
        }
        let cap = grant.share.map_or(u64::MAX, |share| share.burst);
        let over = level.micros().saturating_sub(cap);
        level.spend(over);
        // What a first lease replaces never was the server's.
        let over = if is_first { over.min(grant.tokens.unwrap_or(0)) } else { over };
        self.usage.returned = self.usage.returned.saturating_add(over);
        // From now on by the new share.
        level.skip_to(now);
        !is_same
    }

    /// The server does not know the limit: an equal part until it does. A bucket nobody has leased begins full.
    pub(super) fn disown(&mut self, now: u64, terms: &Terms) {
        self.conform(now, terms);
        if let (Standing::Unassigned, Meter::Level(level)) = (self.standing, &mut self.meter) {
            *level = Level::new(now, terms.local().burst);
        }
        self.standing = Standing::Unknown;
        self.usage = Usage::default();
    }

    /// Begins anew, but for what was used: the fallback does not start over.
    pub(super) fn abandon(&mut self, now: u64, terms: &Terms) {
        self.standing = Standing::Unassigned;
        self.usage = Usage::default();
        if matches!(self.meter, Meter::Level(_)) {
            self.meter = Meter::new(now, &terms.limit);
        }
    }

    /// What happened since the last call.
    pub(super) fn report(&mut self, now: u64, terms: &Terms) -> Usage {
        let usage = self.peek(now, terms);
        self.usage = Usage::default();
        if usage.allowed > 0 {
            (self.used_at, self.uses) = (now, self.uses.saturating_add(1));
        }
        usage
    }

    /// What happened since the last report.
    pub(super) fn peek(&mut self, now: u64, terms: &Terms) -> Usage {
        self.conform(now, terms);
        self.fill(now, terms);
        let (_, stance, _) = self.rule(now, terms);
        let per = terms.limit.per();
        let (level, in_window) = match &mut self.meter {
            Meter::Level(level) => (level.micros(), 0),
            Meter::Window(window) => {
                window.expire(now, per);
                let used = window.used().saturating_mul(MICRO);
                (used, used)
            }
        };
        let held = match (self.standing, stance) {
            (Standing::Leased(grant), Stance::Active | Stance::Reusing) => {
                Some(Held { share: grant.share, version: grant.version, level })
            }
            _ => None,
        };
        Usage { held, in_window, ..self.usage }
    }

    /// Gives the lease back, with what is left of it. Where something is left the fallback is as it was in the beginning:
    /// the server takes what is used of it off what it got back. Where nothing is, only time brings it back, or one could
    /// begin anew again and again.
    pub(super) fn release(&mut self, now: u64, terms: &Terms) -> Usage {
        let mut usage = self.report(now, terms);
        let has_some = match (&self.meter, usage.held) {
            (Meter::Level(level), Some(_)) => {
                usage.returned = usage.returned.saturating_add(level.micros());
                level.tokens() > 0
            }
            (Meter::Window(window), Some(held)) => {
                held.share.is_none_or(|share| window.used() < share.rate / MICRO)
            }
            (_, None) => false,
        };
        if has_some {
            self.gate = Level::new(now, terms.fallback().burst);
        }
        self.abandon(now, terms);
        usage
    }

    /// Whether forgetting this bucket loses nothing: nobody could tell it from a new one. One that is known is kept.
    pub(super) fn is_blank(&mut self, now: u64, terms: &Terms) -> bool {
        self.conform(now, terms);
        let fallback = terms.fallback();
        self.gate.fill(now, fallback, terms.limit.per(), 0);
        // Of what nobody is told nothing waits to be told.
        let is_alone = terms.is_lost && self.standing == Standing::Unassigned;
        let is_told = self.usage.allowed == 0 || is_alone;
        let is_unused = is_told && self.drawn == 0 && self.gate.holds(fallback.burst);
        let is_leased = matches!(self.standing, Standing::Leased(_));
        let is_empty = match &mut self.meter {
            Meter::Level(level) => {
                let local = terms.local();
                if is_alone || self.standing == Standing::Unknown {
                    level.fill(now, local, terms.limit.per(), 0);
                    level.holds(local.burst)
                } else {
                    true
                }
            }
            Meter::Window(window) => {
                window.expire(now, terms.limit.per());
                window.used() == 0
            }
        };
        is_unused && !is_leased && is_empty && !self.is_known(now)
    }

    /// Entries of a window's log; and makes them fewer.
    pub(super) fn trim(&mut self, entries: Option<u64>) -> usize {
        let Meter::Window(window) = &mut self.meter else { return 0 };
        if let Some(most) = entries.filter(|most| window.entries() as u64 > 2 * most) {
            window.coarsen(most);
        }
        window.entries()
    }

    /// A limit may have changed the way it counts; then it begins anew.
    fn conform(&mut self, now: u64, terms: &Terms) {
        let fits = match (&self.meter, terms.limit.mode()) {
            (Meter::Level(_), Mode::TokenBucket) | (Meter::Window(_), Mode::SlidingWindow) => true,
            (Meter::Level(_), Mode::SlidingWindow) | (Meter::Window(_), Mode::TokenBucket) => false,
        };
        if !fits {
            self.meter = Meter::new(now, &terms.limit);
        }
    }
}

impl Meter {
    fn new(now: u64, limit: &Limit) -> Self {
        match limit.mode() {
            Mode::TokenBucket => Self::Level(Level::new(now, 0)),
            Mode::SlidingWindow => Self::Window(Window::default()),
        }
    }
}
