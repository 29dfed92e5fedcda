use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

fn terms(limit: Limit, expired: Expired) -> Terms {
    Terms { limit, proxies: 4, reuse: 2 * SECOND, expired, is_lost: false }
}

fn bucket_of(amount: u64, burst: u64) -> Terms {
    terms(Limit::token_bucket(amount, Duration::from_secs(1), burst), Expired::Closed)
}

fn window_of(amount: u64) -> Terms {
    terms(Limit::sliding_window(amount, Duration::from_secs(1)), Expired::Closed)
}

fn grant(share: Share, tokens: Option<u64>, expires: u64) -> Grant {
    Grant { share: Some(share), tokens, expires, version: 7 }
}

/// The bucket of a limit without keys, with all of it leased for ever.
fn leased(terms: Terms) -> Table {
    let table = Table::unkeyed(0, terms);
    table.each(|_, bucket| {
        bucket.assign(0, grant(terms.limit.whole(), None, u64::MAX), &terms);
    });
    table
}

fn single(table: &Table) -> Arc<Bucket> {
    let mut found = None;
    table.each(|_, bucket| found = Some(Arc::clone(bucket)));
    found.unwrap()
}

fn admitted(table: &Table, now: u64, asked: u64) -> u64 {
    (0..asked).filter(|_| table.take(now, b"", 1).is_admitted).count() as u64
}

/// The most that any window holds.
fn fullest(log: &[(u64, u64)], window: u64) -> u64 {
    let sum = |end: u64| -> u64 {
        log.iter().filter(|(at, _)| *at <= end && at + window > end).map(|(_, cost)| cost).sum()
    };
    log.iter().map(|(at, _)| sum(*at)).max().unwrap_or(0)
}

#[test]
fn before_an_assignment_a_quarter_of_an_equal_share_is_admitted_and_at_first_one_request() {
    let table = Table::unkeyed(0, bucket_of(160, 1));
    assert_eq!(admitted(&table, 0, 50), 1);
    // 160 / (4 · 4) is ten a second.
    assert_eq!((1..=100).map(|step| admitted(&table, step * 10 * MS, 5)).sum::<u64>(), 10);
    let usage = single(&table).report(SECOND, &table.terms());
    assert_eq!((usage.allowed, usage.unleased, usage.held), (11, 11, None));
    assert_eq!(usage.denied, 49 + 490);
    // A limit that admits nothing does not begin with one.
    assert_eq!(admitted(&Table::unkeyed(0, bucket_of(0, 0)), 0, 5), 0);
}

#[test]
fn a_lease_ends_is_reused_and_then_is_what_the_policy_says() {
    let end = 10 * SECOND;
    for (expired, later) in [
        (Expired::Closed, 0),
        (Expired::Open, 50),
        (Expired::LastShare, 8),
        // 16 / 4, and one request for the burst.
        (Expired::LocalShare, 4),
    ] {
        let terms = terms(Limit::token_bucket(16, Duration::from_secs(1), 16), expired);
        let table = Table::unkeyed(0, terms);
        let bucket = single(&table);
        let share = Share { rate: 8 * MICRO, burst: 8 * MICRO };
        assert!(bucket.assign(0, grant(share, Some(0), end), &terms));
        assert_eq!(bucket.stance(end - 1, &terms), Stance::Active);
        assert_eq!(admitted(&table, end - 1, 50), 8);
        assert_eq!(bucket.stance(end, &terms), Stance::Reusing);
        assert_eq!(admitted(&table, end + SECOND - 1, 50), 8);
        assert!(bucket.peek(end + SECOND, &terms).held.is_some(), "its share is still reserved");
        assert_eq!(bucket.stance(end + 2 * SECOND, &terms), Stance::Expired);
        assert!(bucket.peek(end + 2 * SECOND, &terms).held.is_none());
        admitted(&table, end + 2 * SECOND, 50);
        assert_eq!(admitted(&table, end + 3 * SECOND, 50), later, "{expired:?}");
    }
}

#[test]
fn the_same_share_again_only_lasts_longer() {
    let terms = bucket_of(10, 10);
    let table = Table::unkeyed(0, terms);
    let bucket = single(&table);
    let share = terms.limit.whole();
    assert!(bucket.assign(0, grant(share, Some(10 * MICRO), SECOND), &terms));
    assert_eq!(admitted(&table, 0, 7), 7);
    assert!(!bucket.assign(0, grant(share, Some(0), 5 * SECOND), &terms));
    assert_eq!(admitted(&table, 0, 7), 3, "the bucket was filled again");
    assert_eq!(bucket.stance(4 * SECOND, &terms), Stance::Active);
}

#[test]
fn a_share_that_shrinks_returns_what_does_not_fit_and_one_that_grows_mints_nothing() {
    let terms = bucket_of(10, 10);
    let table = Table::unkeyed(0, terms);
    let bucket = single(&table);
    bucket.assign(0, grant(terms.limit.whole(), Some(10 * MICRO), u64::MAX), &terms);
    let small = Share { rate: 3 * MICRO, burst: 3 * MICRO };
    assert!(bucket.assign(0, grant(small, Some(0), u64::MAX), &terms));
    assert_eq!(bucket.report(0, &terms).returned, 7 * MICRO);
    bucket.assign(0, grant(terms.limit.whole(), Some(MICRO), u64::MAX), &terms);
    assert_eq!(admitted(&table, 0, 20), 4, "three that were left and one that came with it");
    assert_eq!(bucket.report(0, &terms).returned, 0);
    // Full after a second; what comes after that is somebody else's.
    let usage = bucket.report(3 * SECOND, &terms);
    assert_eq!((usage.returned, usage.spilled), (0, 10 * MICRO / SPILL));
}

#[test]
fn what_was_admitted_while_the_first_lease_was_on_its_way_is_paid_with_its_tokens() {
    let terms = bucket_of(160, 160);
    let table = Table::unkeyed(0, terms);
    let bucket = single(&table);
    assert_eq!(admitted(&table, 0, 2), 2);
    assert_eq!(bucket.report(0, &terms).unleased, 2, "the server knows of these");
    assert_eq!(admitted(&table, 0, 5), 5);
    bucket.assign(0, grant(terms.limit.whole(), Some(100 * MICRO), u64::MAX), &terms);
    assert_eq!(admitted(&table, 0, 150), 95);
    assert_eq!(bucket.report(0, &terms).unleased, 0, "and these are not its loss");
}

#[test]
fn what_is_given_back_is_said_and_the_fallback_begins_anew_only_where_something_was_left() {
    let terms = bucket_of(16, 16);
    for (used, later) in [(15, 1), (16, 0)] {
        let table = Table::unkeyed(0, terms);
        let bucket = single(&table);
        assert_eq!(admitted(&table, 0, 3), 1);
        bucket.report(0, &terms);
        bucket.assign(0, grant(terms.limit.whole(), Some(16 * MICRO), u64::MAX), &terms);
        assert_eq!(admitted(&table, 0, used), used);
        let usage = bucket.release(0, &terms);
        assert_eq!((usage.allowed, usage.returned), (used, (16 - used) * MICRO));
        assert_eq!(bucket.stance(0, &terms), Stance::Unassigned);
        assert_eq!(admitted(&table, 0, 5), later);
    }
}

#[test]
fn a_server_that_abandons_a_bucket_does_not_reset_the_fallback() {
    let terms = bucket_of(16, 16);
    let table = Table::unkeyed(0, terms);
    assert_eq!(admitted(&table, 0, 3), 1);
    single(&table).abandon(0, &terms);
    assert_eq!(admitted(&table, 0, 3), 0);
}

#[test]
fn a_limit_the_server_does_not_know_is_kept_by_equal_parts() {
    let terms = bucket_of(16, 16);
    let table = Table::unkeyed(0, terms);
    single(&table).disown(0, &terms);
    assert_eq!(admitted(&table, 0, 50), 4);
    assert_eq!(admitted(&table, SECOND, 50), 4);
}

#[test]
fn costs_count_whole_and_one_that_never_fits_says_so() {
    let table = leased(bucket_of(10, 10));
    assert!(table.take(0, b"", 7).is_admitted);
    let refused = table.take(0, b"", 4);
    assert_eq!((refused.is_admitted, refused.remaining), (false, 3));
    assert_eq!(refused.reset_in, Duration::from_millis(100));
    assert!(table.take(0, b"", 3).is_admitted);
    assert!(!table.take(0, b"", 0).is_admitted, "asks whether there is one");
    assert_eq!(table.take(SECOND, b"", 11).reset_in, Duration::MAX);
    assert!(table.take(SECOND, b"", 0).is_admitted);
    assert_eq!(admitted(&table, SECOND, 20), 10, "asking takes nothing");
}

#[test]
fn what_a_request_turns_out_to_cost_is_owed() {
    for terms in [bucket_of(10, 10), window_of(10)] {
        let table = leased(terms);
        table.charge(0, b"", 15);
        let is_window = terms.limit.mode() == Mode::SlidingWindow;
        let (before, after) = if is_window { (0, 10) } else { (4, 1) };
        assert_eq!(admitted(&table, 999 * MS, 5), before);
        assert_eq!(admitted(&table, SECOND, 50), after);
    }
}

#[test]
fn a_cost_that_is_greater_than_a_share_waits_until_it_is_full() {
    let terms = bucket_of(10, 10);
    let table = Table::unkeyed(0, terms);
    let share = Share { rate: 2 * MICRO, burst: 2 * MICRO };
    single(&table).assign(0, grant(share, Some(2 * MICRO), u64::MAX), &terms);
    assert!(table.take(0, b"", 6).is_admitted);
    // Four are owed, two make it full: three seconds.
    assert!(!table.take(3 * SECOND - MS, b"", 6).is_admitted);
    assert!(table.take(3 * SECOND, b"", 6).is_admitted);
}

#[test]
fn threads_together_take_what_there_is_and_no_more() {
    for (terms, all) in
        [(bucket_of(1_000, 50_000), 50_000), (window_of(50_000), 50_000), (window_of(300), 300)]
    {
        let table = Arc::new(leased(terms));
        let sum = Arc::new(AtomicU64::new(0));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (table, sum) = (Arc::clone(&table), Arc::clone(&sum));
                thread::spawn(move || sum.fetch_add(admitted(&table, 0, 20_000), Relaxed))
            })
            .collect();
        threads.into_iter().for_each(|thread| {
            thread.join().unwrap();
        });
        assert_eq!(sum.load(Relaxed), all);
        let usage = single(&table).report(0, &terms);
        assert_eq!((usage.allowed, usage.denied), (all, 80_000 - all));
    }
}

#[test]
fn keys_are_bounded_and_nobody_can_write_another_ones() {
    assert_eq!(Key::form(b"ann@example.com"), "ann@example.com");
    let long = Key::of(&[b'x'; 65]);
    assert!(long.as_str().starts_with("sha256:") && long.as_str().len() == 71);
    let forged = Key::of(long.as_str().as_bytes());
    assert_ne!(long, forged);
    assert!(!Key::of(b"").as_str().is_empty());
    assert_ne!(Key::of(&[0xff]), Key::of("\u{fffd}".as_bytes()));
}

#[test]
fn a_full_table_forgets_no_key_that_used_something_and_limits_the_others_together() {
    let terms = bucket_of(1, 4);
    let table = Table::keyed(terms, Size { keys: 64, ..Size::default() });
    for key in 0..10_000u32 {
        table.take(0, &key.to_le_bytes(), 1);
    }
    let counts = table.counts();
    assert!(counts.keys <= 64 && counts.forgotten == 0 && counts.overflowed >= 9_900, "{counts:?}");
    // The first had a place; those that had none cannot begin anew either.
    let again: usize = (0..10_000u32).filter(|key| table.take(0, &key.to_le_bytes(), 1).is_admitted).count();
    assert_eq!(again, 0);
    // Those that came once are forgotten when their fallback has come back: 16 s.
    table.sweep(17 * SECOND);
    assert_eq!(table.counts().keys, 64, "what was not reported is not forgotten");
    table.each(|_, bucket| {
        bucket.report(17 * SECOND, &terms);
    });
    table.sweep(34 * SECOND);
    assert_eq!(table.counts().keys, 0);
}

#[test]
fn a_table_says_once_which_buckets_need_attention() {
    let terms = bucket_of(16, 16);
    let table = Table::keyed(terms, Size::default());
    (0..10).for_each(|_| {
        table.take(0, b"a", 1);
    });
    let keys: Vec<_> = table.attention().into_iter().filter_map(|one| one.key).collect();
    // Its first use, and its first refusal.
    assert_eq!(keys, [Key::of(b"a"), Key::of(b"a")]);
    table.take(0, b"a", 1);
    assert!(table.attention().is_empty());
}

#[test]
fn other_terms_hold_at_once_and_what_was_used_stays_used() {
    let terms = bucket_of(10, 10);
    let table = leased(terms);
    assert_eq!(admitted(&table, 0, 20), 10);
    table.update(0, Terms { proxies: 2, ..terms });
    assert_eq!(admitted(&table, 0, 20), 0);
    let expired = Terms { expired: Expired::Open, ..terms };
    let table = Table::unkeyed(0, terms);
    single(&table).assign(0, grant(terms.limit.whole(), None, 0), &terms);
    assert_eq!(admitted(&table, 5 * SECOND, 5), 0);
    table.update(5 * SECOND, expired);
    assert_eq!(admitted(&table, 5 * SECOND, 5), 5, "closed by the old policy");
}

proptest! {
    /// Whatever is asked, and however shares move, no window holds more than its rate and the burst; nor do reports.
    #[test]
    fn no_window_of_a_token_bucket_holds_more_than_the_limit(
        steps in proptest::collection::vec((0u64..200, 1u64..20, 0u64..6), 1..200),
        amount in 1u64..100_000, burst in 20u64..2_000,
    ) {
        let terms = bucket_of(amount, burst);
        let table = leased(terms);
        let bucket = single(&table);
        let (mut now, mut log, mut reported) = (0, Vec::new(), 0);
        for (pause, cost, what) in steps {
            now += pause * MS / 10;
            match what {
                0 => {
                    let share = terms.limit.part(cost);
                    bucket.assign(now, grant(share, Some(0), u64::MAX), &terms);
                }
                1 => reported += bucket.report(now, &terms).allowed,
                _ => (0..what * 10).for_each(|_| {
                    if table.take(now, b"", cost).is_admitted {
                        log.push((now, cost));
                    }
                }),
            }
        }
        reported += bucket.report(now, &terms).allowed;
        prop_assert_eq!(reported, log.iter().map(|(_, cost)| cost).sum::<u64>());
        for window in [MS, 50 * MS, SECOND] {
            let most = u128::from(amount) * u128::from(window) / u128::from(SECOND) + u128::from(burst);
            // Shares smaller than a cost owe what is missing.
            prop_assert!(u128::from(fullest(&log, window)) <= most + 20 + 1, "{} > {}", fullest(&log, window), most);
        }
    }

    /// A sliding window of at most 512 decides as an exact log does; a greater one admits no more.
    #[test]
    fn a_window_is_exact_or_admits_less(
        steps in proptest::collection::vec((0u64..300, 1u64..40), 1..300), amount in 1u64..1_500, cost in 1u64..3,
    ) {
        let table = leased(window_of(amount));
        let (mut now, mut log, mut exact) = (0, Vec::new(), Vec::<(u64, u64)>::new());
        for (pause, asked) in steps {
            now += pause * MS;
            for _ in 0..asked {
                let mine = table.take(now, b"", cost).is_admitted;
                let used: u64 = exact.iter().filter(|(at, _)| at + SECOND > now).map(|(_, cost)| cost).sum();
                let right = used + cost <= amount || used == 0 && cost <= amount;
                if mine {
                    log.push((now, cost));
                }
                if right {
                    exact.push((now, cost));
                }
                prop_assert!(amount > 512 || mine == right, "at {now}");
            }
        }
        prop_assert!(fullest(&log, SECOND) <= amount);
    }

    /// Cells that keys share admit no more than one key's part, whichever keys come.
    #[test]
    fn a_key_without_a_place_gets_no_more_than_its_part(
        pauses in proptest::collection::vec(0u64..400, 1..200), is_window in any::<bool>(),
    ) {
        let terms = if is_window { window_of(40) } else { bucket_of(40, 40) };
        let cells = super::overflow::Overflow::new();
        let (mut now, mut log) = (0, Vec::new());
        for pause in pauses {
            now += pause * MS;
            (0..15).for_each(|_| if cells.take(now, 0x1234_5678_9abc, 1, &terms).is_admitted { log.push((now, 1)) });
        }
        let most = if is_window { 10 } else { 20 };
        prop_assert!(fullest(&log, SECOND) <= most);
    }
}

#[test]
fn without_anybody_to_ask_a_bucket_without_an_assignment_is_as_the_policy_says() {
    for (expired, admits) in
        [(Expired::Closed, 0), (Expired::Open, 50), (Expired::LastShare, 4), (Expired::LocalShare, 4)]
    {
        let terms = terms(Limit::token_bucket(16, Duration::from_secs(1), 16), expired);
        let table = Table::unkeyed(0, terms);
        assert_eq!(admitted(&table, 0, 50), 1, "{expired:?}: the fallback");
        table.update(SECOND, Terms { is_lost: true, ..terms });
        assert_eq!(admitted(&table, SECOND, 50), admits, "{expired:?}");
        assert_eq!(single(&table).stance(SECOND, &table.terms()), Stance::Expired);
        table.update(SECOND, terms);
        assert_eq!(single(&table).stance(SECOND, &table.terms()), Stance::Unassigned);
    }
}

#[test]
fn what_is_given_back_can_be_taken_again_and_counts_once() {
    for terms in [bucket_of(10, 10), bucket_of(100_000, 100_000), window_of(10), window_of(100_000)] {
        let whole = terms.limit.amount();
        let table = leased(terms);
        for _ in 0..3 * whole {
            assert!(table.take(0, b"", 1).is_admitted);
            table.give_back(0, b"", 1);
        }
        assert_eq!(admitted(&table, 0, whole + 50), whole, "{terms:?}");
        assert_eq!(single(&table).report(0, &terms).allowed, whole, "{terms:?}");
    }
    let table = Table::unkeyed(0, bucket_of(160, 1));
    for _ in 0..3 {
        assert!(table.take(0, b"", 1).is_admitted);
        table.give_back(0, b"", 1);
    }
    assert_eq!(admitted(&table, 0, 5), 1);
    assert_eq!(single(&table).report(0, &table.terms()).unleased, 1);
}

#[test]
fn a_table_alone_begins_full_and_forgets_what_is_full_again_though_nobody_is_told() {
    let terms = Terms {
        proxies: 1,
        is_lost: true,
        ..terms(Limit::token_bucket(60, Duration::from_secs(60), 5), Expired::LocalShare)
    };
    let table = Table::keyed(terms, Size::default());
    let many = |now| (0..20).filter(|_| table.take(now, b"a", 1).is_admitted).count();
    assert_eq!(many(0), 5);
    table.sweep(4 * SECOND);
    assert_eq!(table.counts().keys, 1, "a token is missing");
    table.sweep(5 * SECOND);
    assert_eq!(table.counts().keys, 0);
    assert_eq!(many(5 * SECOND), 5);
    // Whoever comes and goes gets no second beginning out of one bucket.
    let bucket = Table::unkeyed(0, terms);
    assert_eq!(admitted(&bucket, 0, 20), 5);
    for step in 0..5 {
        bucket.update(step, Terms { is_lost: step % 2 == 1, ..terms });
    }
    bucket.update(6, terms);
    assert_eq!(admitted(&bucket, 6, 20), 0);
}
