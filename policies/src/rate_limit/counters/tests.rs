use std::collections::HashMap;
use std::sync::Arc;

use super::*;

const MINUTE: Duration = Duration::from_mins(1);

fn key(counters: &Counters, number: u64) -> Hashed {
    counters.hashed(&number.to_le_bytes())
}

#[test]
fn each_key_has_a_bucket_of_its_own() {
    let counters = Counters::new(MANY);
    let (rate, now) = (Rate::new(3, MINUTE, 3), Duration::from_secs(5));
    for number in 0..1_000 {
        let key = key(&counters, number);
        let taken: Vec<bool> = (0..4).map(|_| counters.take(key, rate, now, 1).is_admitted).collect();
        assert_eq!(taken, [true, true, true, false], "{number}");
    }
    assert_eq!(counters.forgotten(), 0);
}

#[test]
fn as_many_are_admitted_by_many_threads_as_by_one() {
    let counters = Arc::new(Counters::new(FEW));
    let (rate, now) = (Rate::new(1_000, MINUTE, 1_000), Duration::from_secs(5));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let counters = Arc::clone(&counters);
            std::thread::spawn(move || {
                (0..2_000).filter(|_| counters.take(key(&counters, 7), rate, now, 1).is_admitted).count()
            })
        })
        .collect();
    let admitted: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(admitted, 1_000);
}

/// Ten minutes of new keys, in a table that cannot hold them: as ten thousand a second are to one of the size that is used.
#[test]
fn an_attacker_with_ever_new_keys_changes_nothing_for_those_who_have_used_theirs() {
    let counters = Counters::new(MANY / 16);
    let rate = Rate::new(60, Duration::from_hours(1), 60);
    let known: Vec<Hashed> = (0..100).map(|n| key(&counters, u64::MAX - n)).collect();
    let mut admitted: HashMap<usize, u64> = HashMap::new();
    let mut new = 0;
    for second in 0..600 {
        let now = Duration::from_secs(second);
        // Twice the rate, after a burst of half of what there is.
        for (at, key) in known.iter().enumerate() {
            let wanted = if second == 0 { 30 } else { u64::from(second % 30 == 0) };
            for _ in 0..wanted {
                *admitted.entry(at).or_default() += u64::from(counters.take(*key, rate, now, 1).is_admitted);
            }
        }
        for _ in 0..10_000 / 16 {
            counters.take(key(&counters, new), rate, now, 1);
            new += 1;
        }
    }
    let wrong = admitted.values().filter(|count| **count != 30 + 19).count();
    assert_eq!(wrong, 0, "of 100 keys this many were admitted otherwise");
    assert!(counters.forgotten() > 100_000, "the table was never full");
    assert_eq!(Counters::new(MANY).capacity() * size_of::<Bucket>(), 4 << 20);
}

#[test]
fn an_empty_bucket_is_the_last_to_be_forgotten() {
    let counters = Counters::new(FEW);
    let rate = Rate::new(60, MINUTE, 60);
    let now = Duration::from_secs(5);
    let used = key(&counters, 0);
    assert!(counters.take(used, rate, now, 60).is_admitted);
    for number in 1..200_000 {
        counters.take(key(&counters, number), rate, now, 1);
    }
    assert!(!counters.take(used, rate, now, 1).is_admitted, "its limit was reset");
}

#[test]
fn what_is_charged_or_given_back_counts() {
    let counters = Counters::new(FEW);
    let (rate, now) = (Rate::new(10, MINUTE, 10), Duration::from_secs(5));
    let key = key(&counters, 1);
    assert_eq!(counters.take(key, rate, now, 4).remaining, 6);
    counters.give_back(key, rate, now, 4);
    assert_eq!(counters.take(key, rate, now, 0).remaining, 10);
    counters.charge(key, rate, now, 9);
    assert!(counters.take(key, rate, now, 1).is_admitted);
    assert!(!counters.take(key, rate, now, 1).is_admitted);
}
