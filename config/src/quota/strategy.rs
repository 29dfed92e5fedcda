//! Shares as RLQS says them, for those who do not read ours.

use policies::lease::{Limit, MICRO, Mode, Share};
use policies::rate_limit::Unit;

use super::proto::{Blanket, Count, PerUnit, Rule, Span, Strategy, TokenBucket};

const SECOND: u64 = 1_000_000_000;

/// A share as a token bucket of whole tokens, never more than it is. In a sliding window it is one token less, for the one
/// token that a bucket holds: together they fit the window.
pub(super) fn encode(limit: &Limit, share: Share) -> Strategy {
    let (rate, burst) = match limit.mode() {
        Mode::TokenBucket => (share.rate, share.burst / MICRO),
        Mode::SlidingWindow => (share.rate.saturating_sub(MICRO), 1),
    };
    let Some(max_tokens) = u32::try_from(burst).ok().or(Some(u32::MAX)).filter(|max| *max > 0 && rate > 0)
    else {
        return Strategy { rule: Some(Rule::Blanket(Blanket::DenyAll as i32)) };
    };
    // As often as tokens come, but no more often than each 20 ms, and the interval rounded up.
    let tokens = (u128::from(rate) * 20_000_000 / u128::from(limit.per()) / u128::from(MICRO)).max(1);
    let tokens = u32::try_from(tokens).unwrap_or(u32::MAX).min(max_tokens);
    let interval = (u128::from(tokens) * u128::from(limit.per()) * u128::from(MICRO)).div_ceil(rate.into());
    Strategy {
        rule: Some(Rule::TokenBucket(TokenBucket {
            max_tokens,
            tokens_per_fill: Some(Count { value: tokens }),
            fill_interval: Some(Span::of(u64::try_from(interval).unwrap_or(u64::MAX))),
        })),
    }
}

/// What another server's strategy means as a share of a limit; `None` admits all. What cannot be understood admits nothing.
pub(super) fn decode(limit: &Limit, strategy: Option<&Strategy>) -> Option<Share> {
    let nothing = Some(Share::default());
    let (tokens, nanos, burst) = match strategy.and_then(|strategy| strategy.rule.as_ref()) {
        None => return None,
        Some(Rule::Blanket(rule)) if *rule == Blanket::AllowAll as i32 => return None,
        Some(Rule::Blanket(_)) => return nothing,
        Some(Rule::PerUnit(PerUnit { requests, unit })) => match nanos_of(*unit) {
            Some(nanos) => (*requests, nanos, *requests),
            None => return nothing,
        },
        Some(Rule::TokenBucket(bucket)) => {
            let interval = bucket.fill_interval.map_or(0, |span| span.in_nanos());
            let tokens = bucket.tokens_per_fill.as_ref().map_or(1, |count| count.value);
            if interval == 0 {
                return nothing;
            }
            (tokens.into(), interval, bucket.max_tokens.into())
        }
    };
    let rate = u128::from(tokens) * u128::from(MICRO) * u128::from(limit.per()) / u128::from(nanos);
    let rate = u64::try_from(rate).unwrap_or(u64::MAX);
    Some(match limit.mode() {
        Mode::TokenBucket => Share { rate, burst: burst.saturating_mul(MICRO) },
        Mode::SlidingWindow => Share { rate, burst: 0 },
    })
}

fn nanos_of(unit: i32) -> Option<u64> {
    Unit::numbered(unit).map(|unit| unit.duration().as_secs() * SECOND)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::{any, prop_assert, proptest};

    use super::*;

    proptest! {
        #[test]
        fn what_others_read_is_never_more_than_the_share(
            amount in 0u64..10_000_000, seconds in 1u64..4_000_000, burst in 0u64..1_000_000, parts in 1u64..50,
            is_window in any::<bool>(),
        ) {
            let per = Duration::from_secs(seconds);
            let limit = if is_window {
                Limit::sliding_window(amount, per)
            } else {
                Limit::token_bucket(amount, per, burst)
            };
            let share = limit.part(parts);
            let read = decode(&limit, Some(&encode(&limit, share))).expect("it is limited");
            prop_assert!(read.rate <= share.rate);
            prop_assert!(is_window || read.burst <= share.burst);
        }
    }

    #[test]
    fn strategies_mean_what_the_protocol_says() {
        let limit = Limit::token_bucket(600, Duration::from_secs(60), 10);
        let rule = |rule| Strategy { rule: Some(rule) };
        assert_eq!(decode(&limit, None), None);
        assert_eq!(decode(&limit, Some(&rule(Rule::Blanket(0)))), None);
        assert_eq!(decode(&limit, Some(&rule(Rule::Blanket(1)))), Some(Share::default()));
        let per_second = rule(Rule::PerUnit(PerUnit { requests: 5, unit: Unit::Second.number() }));
        let share = Share { rate: 300 * MICRO, burst: 5 * MICRO };
        assert_eq!(decode(&limit, Some(&per_second)), Some(share));
        let bucket =
            TokenBucket { max_tokens: 7, tokens_per_fill: None, fill_interval: Some(Span::of(SECOND)) };
        let share = Share { rate: 60 * MICRO, burst: 7 * MICRO };
        assert_eq!(decode(&limit, Some(&rule(Rule::TokenBucket(bucket)))), Some(share));
        let odd = rule(Rule::PerUnit(PerUnit { requests: 5, unit: 99 }));
        assert_eq!(decode(&limit, Some(&odd)), Some(Share::default()));
    }
}
