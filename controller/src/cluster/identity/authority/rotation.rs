//! When the authority is exchanged: a pure machine over dates of certificates, so that any replica, whenever it begins to
//! lead, does the same.
//!
//! ```text
//! age of the authority      0 ─────────────── period - notice ──── period ── + kept ─►
//! Secret                    ca                ca, next             ca = next,  ca
//!                                                                  previous = ca
//! proxies trust             ca                ca, next             ca, previous ca
//! signs                     ca                ca                   next        ca
//! ```
//!
//! The new authority is trusted everywhere before it signs anything, and the old one until nothing it signed is valid
//! any more: nobody is refused at any moment, and no stream is closed.

use std::time::Duration;

use config::identity::Authority;

use crate::x509::Validity;

/// How long a new authority is announced before it signs: ConfigMaps take a minute or two to arrive in pods.
const NOTICE: Duration = Duration::from_secs(3600);
/// How long an authority is trusted after it signed last: twice the life of proxies' certificates.
const KEPT: Duration = Authority::LIFETIME.saturating_mul(2);
/// An authority that ends this soon is exchanged at once, whatever that breaks.
const URGENT: Duration = Duration::from_secs(2 * 24 * 3600);

/// How often the authority is exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rotation {
    /// `None`: only when it expires, or its Secret is removed.
    pub(crate) period: Option<Duration>,
}

/// What the certificates in the Secret say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Dates {
    pub(super) current: Option<Validity>,
    pub(super) next: Option<Validity>,
    /// Newest first.
    pub(super) previous: Vec<Validity>,
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Make the next authority, and let everybody trust it.
    Announce,
    /// The next one signs from now on.
    Promote,
    /// Only so many of the previous ones are still needed.
    Forget(usize),
    /// There is no time to announce: a new one signs from now on.
    Replace,
}

impl Rotation {
    /// Life of an authority that is made now: three periods, so that two may be missed.
    pub(super) fn lifetime(self) -> Duration {
        self.period.map_or(Authority::YEARS, |period| period.saturating_mul(3).min(Authority::YEARS))
    }

    fn notice(self) -> i64 {
        let notice = self.period.map_or(NOTICE, |period| NOTICE.min(period / 4));
        seconds(notice)
    }

    /// What is to be done at `now`, seconds since 1970.
    pub(super) fn due(self, dates: &Dates, now: i64) -> Option<Step> {
        let current = dates.current?;
        // A short life, of a short period, has no urgency of days.
        let urgent = seconds(URGENT).min((current.ends - current.begins) / 10);
        if now >= current.ends - urgent {
            return Some(if dates.next.is_some() { Step::Promote } else { Step::Replace });
        }
        let kept = dates.kept(self.notice() + seconds(KEPT), now);
        if let Some(next) = dates.next {
            return (now >= next.begins + self.notice()).then_some(Step::Promote);
        }
        if kept < dates.previous.len() {
            return Some(Step::Forget(kept));
        }
        let period = seconds(self.period?);
        (now >= current.begins + period - self.notice()).then_some(Step::Announce)
    }
}

impl Dates {
    /// How many of the previous ones are needed. Each was followed by the one before it in the list, a notice after
    /// that was made.
    fn kept(&self, after: i64, now: i64) -> usize {
        let successors = self.current.iter().chain(&self.previous);
        let is_needed = |successor: &&Validity| now < successor.begins + after;
        successors.zip(&self.previous).take_while(|(successor, _)| is_needed(successor)).count()
    }
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;
    const DAY: i64 = 24 * HOUR;

    fn daily() -> Rotation {
        Rotation { period: Some(Duration::from_secs(24 * 3600)) }
    }

    fn made(begins: i64) -> Validity {
        Validity { begins, ends: begins + 3 * DAY }
    }

    #[test]
    fn an_authority_is_announced_promoted_and_forgotten_in_time() {
        let mut dates = Dates { current: Some(made(0)), ..Dates::default() };
        assert_eq!(daily().due(&dates, 22 * HOUR), None);
        assert_eq!(daily().due(&dates, 23 * HOUR), Some(Step::Announce));
        dates.next = Some(made(23 * HOUR));
        assert_eq!(daily().due(&dates, 24 * HOUR - 1), None);
        assert_eq!(daily().due(&dates, 24 * HOUR), Some(Step::Promote));
        dates = Dates { current: dates.next, next: None, previous: vec![made(0)] };
        assert_eq!(daily().due(&dates, 26 * HOUR - 1), None);
        assert_eq!(daily().due(&dates, 26 * HOUR), Some(Step::Forget(0)));
        dates.previous.clear();
        assert_eq!(daily().due(&dates, 26 * HOUR), None);
    }

    #[test]
    fn of_several_previous_ones_the_oldest_go_first() {
        let hourly = Rotation { period: Some(Duration::from_secs(3600)) };
        let previous = vec![made(8 * HOUR), made(7 * HOUR), made(HOUR)];
        let dates = Dates { current: Some(made(9 * HOUR)), next: None, previous };
        assert_eq!(hourly.due(&dates, 9 * HOUR + 60), None);
        assert_eq!(hourly.due(&dates, 9 * HOUR + 1200), Some(Step::Forget(2)));
    }

    #[test]
    fn without_a_period_only_an_end_in_sight_exchanges_it() {
        let never = Rotation { period: None };
        let dates = Dates { current: Some(Validity { begins: 0, ends: 100 * DAY }), ..Dates::default() };
        assert_eq!(never.due(&dates, 97 * DAY), None);
        assert_eq!(never.due(&dates, 98 * DAY), Some(Step::Replace));
        assert_eq!(never.due(&dates, 1000 * DAY), Some(Step::Replace));
        let announced = Dates { next: Some(made(97 * DAY)), ..dates };
        assert_eq!(never.due(&announced, 98 * DAY), Some(Step::Promote));
    }

    #[test]
    fn whatever_the_clock_says_the_machine_comes_to_rest() {
        // From any age, following the steps must end; otherwise the Secret would be written for ever.
        for period in [3600, 7200, 86_400, 90 * 86_400] {
            let rotation = Rotation { period: Some(Duration::from_secs(period)) };
            let life = seconds(rotation.lifetime());
            for age in 0..400 {
                let now = age * life / 200;
                let mut dates =
                    Dates { current: Some(Validity { begins: 0, ends: life }), ..Dates::default() };
                let mut steps = 0;
                while let Some(step) = rotation.due(&dates, now) {
                    let fresh = Validity { begins: now, ends: now + life };
                    match step {
                        Step::Announce => dates.next = Some(fresh),
                        Step::Forget(kept) => dates.previous.truncate(kept),
                        Step::Promote | Step::Replace => {
                            let next = dates.next.take().unwrap_or(fresh);
                            dates.previous.insert(0, dates.current.replace(next).unwrap());
                        }
                    }
                    steps += 1;
                    assert!(steps < 5, "period {period}, age {age}: {dates:?}");
                }
            }
        }
    }
}
