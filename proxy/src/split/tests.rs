use std::thread;

use proptest::prelude::*;

use super::*;

fn wheel(weights: &[u32]) -> Wheel {
    Wheel::new(weights, (0..).map(|at| stable::hash(format!("ns/v{at}:80").as_bytes())))
}

fn picks(weights: &[u32], count: u64) -> Vec<usize> {
    let wheel = wheel(weights);
    (0..count).map(|_| wheel.next().expect("some weight")).collect()
}

fn reduced(weights: &[u32]) -> (Vec<u64>, u64) {
    let divisor = weights.iter().fold(0, |d, &w| gcd(d, u64::from(w)));
    let weights: Vec<u64> = weights.iter().map(|&w| u64::from(w) / divisor).collect();
    let total = weights.iter().sum();
    (weights, total)
}

/// The largest distance of a share's count from its due, over all windows of `sequence`: the spread of the running
/// difference.
fn discrepancy(sequence: &[usize], share: usize, weight: u64, total: u64) -> f64 {
    let due = weight as f64 / total as f64;
    let (mut low, mut high, mut now) = (0.0f64, 0.0f64, 0.0f64);
    for &pick in sequence {
        now += f64::from(u8::from(pick == share)) - due;
        low = low.min(now);
        high = high.max(now);
    }
    high - low
}

fn some_weights() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(prop_oneof![0u32..4, 0u32..200, Just(1u32), Just(100u32)], 2..9)
        .prop_filter("two shares or more", |weights| weights.iter().filter(|w| **w > 0).count() > 1)
}

proptest! {
    #[test]
    fn every_period_is_exact(weights in some_weights(), skip in 0u64..500) {
        let (reduced, total) = reduced(&weights);
        let sequence = picks(&weights, skip + total);
        for (share, due) in reduced.iter().enumerate() {
            let got = sequence.iter().skip(skip as usize).filter(|pick| **pick == share).count() as u64;
            prop_assert_eq!(got, *due, "share {} of {:?}", share, weights);
        }
    }

    #[test]
    fn every_window_is_close_to_its_due(weights in some_weights()) {
        let (reduced, total) = reduced(&weights);
        let sequence = picks(&weights, 2 * total);
        for (share, weight) in reduced.iter().enumerate() {
            let bound = 2.0 + (total as f64).log2();
            let got = discrepancy(&sequence, share, *weight, total);
            prop_assert!(got <= bound, "{} > {} for share {} of {:?}", got, bound, share, weights);
        }
    }
}

#[test]
fn large_weights_are_spread_evenly_too() {
    for weights in [
        vec![1_000_000u32, 999_999, 1],
        vec![999_983, 3, 17, 1_000_000, 0, 5],
        (0..64).map(|i| 1_000_000 - i * 7).collect(),
        vec![u32::MAX, u32::MAX - 1, 1, 77],
    ] {
        let (reduced, total) = reduced(&weights);
        let sequence = picks(&weights, 300_000);
        for (share, weight) in reduced.iter().enumerate() {
            let got = discrepancy(&sequence, share, *weight, total);
            assert!(got <= 2.0 + (total as f64).log2(), "{got} for share {share} of {weights:?}");
        }
    }
}

#[test]
fn no_total_up_to_many_thousands_has_a_bad_step() {
    for total in 2..30_000u64 {
        let step = step(total);
        let uneven = unevenness(step, total).expect("coprime");
        assert!((uneven as f64) <= 4.0 + 2.5 * (total as f64).log2(), "{total}: {step} with {uneven}");
    }
}

#[test]
fn equal_shares_take_turns() {
    for shares in 2..20usize {
        let sequence = picks(&vec![7; shares], 200);
        for window in sequence.windows(shares) {
            let mut seen: Vec<usize> = window.to_vec();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), shares, "{sequence:?}");
        }
    }
}

#[test]
fn a_rare_share_is_not_served_in_bursts() {
    let sequence = picks(&[95, 5], 10_000);
    let at: Vec<usize> = sequence.iter().enumerate().filter(|(_, s)| **s == 1).map(|(i, _)| i).collect();
    let gaps: Vec<usize> = at.windows(2).map(|w| w[1] - w[0]).collect();
    assert_eq!((gaps.iter().min(), gaps.iter().max()), (Some(&20), Some(&20)), "one in 20, evenly");
}

#[test]
fn weight_zero_is_never_picked() {
    let sequence = picks(&[0, 3, 0, 2, 0], 10_000);
    assert_eq!(sequence.iter().filter(|s| **s == 1).count(), 6_000);
    assert_eq!(sequence.iter().filter(|s| **s == 3).count(), 4_000);
    assert_eq!(picks(&[0, 9, 0], 5), [1; 5]);
}

#[test]
fn nothing_is_picked_when_there_is_no_weight() {
    assert_eq!(wheel(&[]).next(), None);
    assert_eq!(wheel(&[0, 0]).next(), None);
    assert!(Split::new(Vec::new()).pick().is_none());
}

#[test]
fn a_split_picks_the_share_it_was_given() {
    let share = |reason: &str| Share { target: Err(reason.into()), chain: Chain::default() };
    let split = Split::new(vec![(0, share("a")), (1, share("b")), (1, share("c"))]);
    let mut picked: Vec<_> = (0..4)
        .map(|_| split.pick().and_then(|s| s.target.as_ref().err()).expect("a share").to_string())
        .collect();
    picked.sort();
    assert_eq!(picked, ["b", "b", "c", "c"]);
    assert_eq!(split.shares().len(), 3);
}

#[test]
fn threads_together_are_exact() {
    let weights = [6u32, 3, 1];
    let wheel = wheel(&weights);
    let counts: Vec<[u64; 3]> = thread::scope(|scope| {
        let turns: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut counts = [0u64; 3];
                    for _ in 0..25_000 {
                        counts[wheel.next().expect("a share")] += 1;
                    }
                    counts
                })
            })
            .collect();
        turns.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let total = |share: usize| counts.iter().map(|c| c[share]).sum::<u64>();
    assert_eq!([total(0), total(1), total(2)], [60_000, 30_000, 10_000]);
}

#[test]
fn splits_do_not_all_start_with_the_same_share() {
    let firsts: Vec<usize> = (0..100).map(|_| picks(&[50, 50], 1)[0]).collect();
    let first = firsts.iter().filter(|s| **s == 0).count();
    assert!((20..=80).contains(&first), "{first} of 100");
}

proptest! {
    #[test]
    fn keys_move_only_to_a_share_that_grows(weights in some_weights(), grown: prop::sample::Index, by in 1u32..100) {
        let grown = grown.index(weights.len());
        let mut more = weights.clone();
        more[grown] += by;
        let (before, after) = (wheel(&weights), wheel(&more));
        for key in 0..500 {
            let key = stable::hash(&u64::to_be_bytes(key));
            let (was, is) = (before.of(key), after.of(key));
            prop_assert!(was == is || is == Some(grown), "{was:?} to {is:?} of {weights:?}");
        }
    }
}

#[test]
fn keys_are_shared_by_weight() {
    let wheel = wheel(&[90, 0, 10, 100]);
    let mut counts = [0; 4];
    (0..20_000u64).for_each(|key| counts[wheel.of(stable::hash(&key.to_be_bytes())).unwrap()] += 1);
    for (count, due) in counts.iter().zip([9_000i32, 0, 1_000, 10_000]) {
        // Four times the root of n p (1 - p).
        assert!((count - due).abs() <= 290, "{counts:?}");
    }
}
