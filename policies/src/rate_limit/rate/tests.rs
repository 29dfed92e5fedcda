use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const YEAR: Duration = Duration::from_secs(31_536_000);

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Takes at these milliseconds and says which were admitted.
fn admitted(rate: Rate, times: impl IntoIterator<Item = u64>, cost: u64) -> usize {
    let mut bucket = Rate::full();
    let mut count = 0;
    for time in times {
        let (next, taken) = rate.take(bucket, at(time), cost);
        assert_eq!(next.is_some(), taken.is_admitted);
        count += usize::from(taken.is_admitted);
        bucket = next.unwrap_or(bucket);
    }
    count
}

#[test]
fn a_full_bucket_gives_its_burst_at_once_and_then_the_rate() {
    let rate = Rate::new(10, SECOND, 10);
    assert_eq!(admitted(rate, std::iter::repeat_n(0, 50), 1), 10);
    assert_eq!(admitted(rate, (0..10_000).step_by(10), 1), 10 + 99, "a token each 100 ms, for 9,990 ms");
    assert_eq!(admitted(Rate::new(10, SECOND, 1), (0..10_000).step_by(10), 1), 100);
    assert_eq!(admitted(Rate::new(10, SECOND, 25), std::iter::repeat_n(0, 50), 1), 25);
}

#[test]
fn costs_are_exact() {
    assert_eq!(admitted(Rate::new(10, SECOND, 10), std::iter::repeat_n(0, 50), 3), 3);
    assert_eq!(admitted(Rate::new(10, SECOND, 10), std::iter::repeat_n(0, 50), 10), 1);
    assert_eq!(admitted(Rate::new(10, SECOND, 10), std::iter::repeat_n(0, 50), 11), 0);
    assert_eq!(admitted(Rate::new(10, SECOND, 10), std::iter::repeat_n(0, 50), 0), 50);
    assert_eq!(admitted(Rate::new(10, SECOND, 10), std::iter::repeat_n(0, 50), u64::MAX), 0);
}

#[test]
fn no_requests_means_none() {
    let rate = Rate::new(0, SECOND, 5);
    assert_eq!(admitted(rate, 0..50, 1), 0);
    let (_, taken) = rate.take(Rate::full(), at(0), 1);
    assert_eq!((taken.remaining, taken.wait), (0, SECOND));
    assert_eq!(admitted(rate, 0..50, 0), 50, "what costs nothing takes nothing");
}

#[test]
fn what_is_told_of_the_bucket_comes_true() {
    let rate = Rate::new(10, SECOND, 10);
    let mut bucket = Rate::full();
    for left in (0..10).rev() {
        let (next, taken) = rate.take(bucket, at(0), 1);
        assert_eq!(taken.remaining, left);
        assert!(taken.wait <= at(100) && taken.wait > at(99), "{:?}", taken.wait);
        bucket = next.unwrap();
    }
    let (next, taken) = rate.take(bucket, at(30), 1);
    assert_eq!(next, None);
    assert_eq!(taken.remaining, 0);
    let (next, _) = rate.take(bucket, at(30) + taken.wait, 1);
    assert!(next.is_some(), "it was told to come after {:?}", taken.wait);
    let early = at(30) + taken.wait - Duration::from_micros(1);
    assert_eq!(rate.take(bucket, early, 1).0, None, "and not before");
}

#[test]
fn what_is_charged_later_is_owed_but_no_more_than_a_bucket() {
    let rate = Rate::new(10, SECOND, 10);
    let bucket = rate.charge(Rate::full(), at(0), 15);
    assert_eq!(rate.take(bucket, at(599), 1).0, None, "5 owed and one to take are 600 ms");
    assert!(rate.take(bucket, at(601), 1).0.is_some());
    let bucket = rate.charge(bucket, at(0), u64::MAX);
    assert_eq!(rate.take(bucket, at(1_099), 1).0, None);
    assert!(rate.take(bucket, at(1_101), 1).0.is_some(), "twice a bucket at most");
}

#[test]
fn what_is_given_back_was_never_taken() {
    let rate = Rate::new(10, SECOND, 10);
    let full = units(at(5));
    let (taken, _) = rate.take(full, at(5), 4);
    assert_eq!(rate.give_back(taken.unwrap(), 4), full);
}

#[test]
fn a_bucket_that_rested_for_years_is_full() {
    for rate in [Rate::new(10, SECOND, 10), Rate::new(1, YEAR, 1), Rate::new(u64::from(u32::MAX), SECOND, 7)]
    {
        let (bucket, _) = rate.take(Rate::full(), at(0), 1);
        for years in 1..40 {
            assert_eq!(Rate::missing(bucket.unwrap(), YEAR * years + at(1)), 0, "{rate:?}, {years} years");
        }
    }
}

proptest! {
    /// Against a bucket of real numbers: never more than it admits but for rounding, and never two less.
    #[test]
    fn admits_what_an_ideal_bucket_admits(
        requests in 1u64..5_000_000,
        window in prop::sample::select(vec![1u64, 60, 3600, 86_400, 2_592_000, 31_536_000]),
        burst in 1u64..1_000,
        steps in prop::collection::vec((0u64..2_000_000_000, 1u64..5), 1..200),
    ) {
        let rate = Rate::new(requests, Duration::from_secs(window), burst);
        let per_nano = requests as f64 / (window as f64 * 1e9);
        let (mut bucket, mut ideal) = (Rate::full(), burst as f64);
        let (mut now, mut admitted, mut wanted) = (0u64, 0.0, 0.0);
        for (step, cost) in steps {
            now += step;
            let cost_f = cost as f64;
            ideal = (ideal + step as f64 * per_nano).min(burst as f64);
            let is_clear = (ideal - cost_f).abs() > 1e-3;
            let (next, taken) = rate.take(bucket, Duration::from_nanos(now), cost);
            if is_clear {
                prop_assert_eq!(taken.is_admitted, ideal >= cost_f, "{} of {}", ideal, cost_f);
            }
            if let Some(next) = next {
                bucket = next;
                ideal -= cost_f;
                admitted += cost_f;
            }
            wanted += cost_f;
        }
        prop_assert!(admitted <= wanted);
        prop_assert!(admitted <= burst as f64 + now as f64 * per_nano + 1e-3 * wanted);
    }
}
