//! Cloudflare's question: of many decisions about many sources, how many does a limiter get wrong? `QUOTA_REPLAY` says of how
//! many (default 200,000; the table asks for 10,000,000).

use std::collections::VecDeque;
use std::time::Duration;

use policies::lease::{Expired, Grant, Limit, Size, Table, Terms};

use crate::chance::Chance;
use crate::parts::SECOND;

const SOURCES: usize = 270_000;

/// Sources by rank: the second asks 1/2^s as often as the first, and so on.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(exponent: f64) -> Self {
        let mut sum = 0.0;
        let sums = (1..=SOURCES).map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        });
        Self(sums.collect())
    }

    fn pick(&self, chance: &mut Chance) -> usize {
        let point = chance.unit() * self.0[SOURCES - 1];
        self.0.partition_point(|sum| *sum < point).min(SOURCES - 1)
    }
}

/// The exact log of one source.
#[derive(Default)]
struct Log(VecDeque<u64>);

impl Log {
    fn take(&mut self, now: u64, amount: u64, window: u64) -> bool {
        while self.0.front().is_some_and(|at| at + window <= now) {
            self.0.pop_front();
        }
        let is_admitted = (self.0.len() as u64) < amount;
        if is_admitted {
            self.0.push_back(now);
        }
        is_admitted
    }
}

/// In millionths: decisions that differ; and how far the sum of what was admitted is off.
fn replay(amount: u64, window: Duration, decisions: u64) -> (f64, f64) {
    let limit = Limit::sliding_window(amount, window);
    let terms = Terms { limit, proxies: 1, reuse: 0, expired: Expired::Closed, is_lost: false };
    let table = Table::keyed(terms, Size { keys: 64 * SOURCES, ..Size::default() });
    let names: Vec<String> = (0..SOURCES).map(|source| format!("source-{source}")).collect();
    for name in &names {
        // Asks, and takes nothing.
        table.take(0, name.as_bytes(), 0);
    }
    let grant = Grant { share: Some(limit.whole()), tokens: None, expires: u64::MAX, version: 1 };
    table.each(|_, bucket| {
        bucket.assign(0, grant, &terms);
    });
    let (zipf, mut chance) = (Zipf::new(1.1), Chance::new(7));
    let mut logs: Vec<Log> = (0..SOURCES).map(|_| Log::default()).collect();
    let (mut now, mut wrong, mut ours, mut exact) = (SECOND, 0u64, 0u64, 0u64);
    for _ in 0..decisions {
        // Ten million of them in ten minutes.
        now += chance.gap(10_000_000.0 / 600.0);
        let source = zipf.pick(&mut chance);
        let mine = table.take(now, names[source].as_bytes(), 1).is_admitted;
        let right = logs[source].take(now, amount, limit.per());
        wrong += u64::from(mine != right);
        ours += u64::from(mine);
        exact += u64::from(right);
    }
    let all = decisions as f64;
    assert!(exact < decisions, "nothing was over the limit");
    (wrong as f64 / all * 1e6, ours.abs_diff(exact) as f64 / all * 1e6)
}

#[test]
fn a_sliding_window_decides_as_an_exact_log_does() {
    let decisions =
        std::env::var("QUOTA_REPLAY").ok().and_then(|count| count.parse().ok()).unwrap_or(200_000);
    for (amount, seconds) in [(20, 1), (100, 10), (500, 60)] {
        let (wrong, off) = replay(amount, Duration::from_secs(seconds), decisions);
        println!(
            "        replay | {amount} in {seconds} s: {wrong:.2} ppm wrong <= 30, sum off by {off:.2} ppm"
        );
        assert!(wrong <= 30.0, "{amount} in {seconds} s: {wrong} ppm");
    }
    // Beyond what a log keeps apart, each decision may be late, and the sum is right.
    let (wrong, off) = replay(2_000, Duration::from_secs(60), decisions);
    println!("        replay | 2,000 in 60 s, coarse: {wrong:.2} ppm wrong, sum off by {off:.2} ppm");
    assert!(off <= 5_000.0, "{off} ppm");
}
