//! What a decision of a leased limit costs, without keys, with keys, and with two threads at one bucket.
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use fairway_policies::lease::{Expired, Grant, Limit, Size, Table, Terms};

fn terms(limit: Limit) -> Terms {
    Terms { limit, proxies: 8, reuse: 0, expired: Expired::Closed, is_lost: false }
}

/// With all of the limit leased to it.
fn leased(table: Table) -> Arc<Table> {
    let terms = table.terms();
    let grant = Grant { share: Some(terms.limit.whole()), tokens: None, expires: u64::MAX, version: 1 };
    table.each(|_, bucket| {
        bucket.assign(0, grant, &terms);
    });
    Arc::new(table)
}

fn nanos(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap()
}

/// While another thread takes from the same bucket as fast as it can.
fn contended(table: &Arc<Table>, iterations: u64) -> Duration {
    let (start, is_over) = (Instant::now(), Arc::new(AtomicBool::new(false)));
    let other = thread::spawn({
        let (table, is_over) = (Arc::clone(table), Arc::clone(&is_over));
        move || {
            while !is_over.load(Relaxed) {
                black_box(table.take(nanos(start), b"", 1));
            }
        }
    });
    let began = Instant::now();
    for _ in 0..iterations {
        black_box(table.take(nanos(start), b"", 1));
    }
    let took = began.elapsed();
    is_over.store(true, Relaxed);
    other.join().unwrap();
    took
}

fn lease(c: &mut Criterion) {
    let second = Duration::from_secs(1);
    let start = Instant::now();
    c.bench_function("clock alone", |b| b.iter(|| black_box(nanos(start))));
    for (name, limit) in [
        ("token bucket, admits", Limit::token_bucket(10_000_000_000, second, 10_000_000_000)),
        ("token bucket, refuses most", Limit::token_bucket(1_000, second, 10)),
        ("sliding window, admits", Limit::sliding_window(10_000_000_000, second)),
        ("sliding window, refuses most", Limit::sliding_window(500, second)),
    ] {
        let table = leased(Table::unkeyed(0, terms(limit)));
        c.bench_function(&format!("no key: {name}"), |b| b.iter(|| table.take(nanos(start), b"", 1)));
        c.bench_function(&format!("no key, two threads: {name}"), |b| {
            b.iter_custom(|iterations| contended(&table, iterations));
        });
        let table = Table::keyed(terms(limit), Size::default());
        let keys: Vec<String> = (0..10_000).map(|key| format!("user-{key}@example.com")).collect();
        keys.iter().for_each(|key| {
            table.take(0, key.as_bytes(), 1);
        });
        let table = leased(table);
        let mut next = 0;
        c.bench_function(&format!("10,000 keys: {name}"), |b| {
            b.iter(|| {
                next = (next + 7_919) % keys.len();
                table.take(nanos(start), keys.get(next).unwrap().as_bytes(), 1)
            });
        });
    }
    let table = Table::keyed(terms(Limit::token_bucket(10, Duration::from_secs(3_600), 10)), Size::default());
    let mut key = 0u64;
    c.bench_function("a new key each time, far beyond the cap", |b| {
        b.iter(|| {
            key += 1;
            table.take(nanos(start), &key.to_le_bytes(), 1)
        });
    });
}

criterion_group!(benches, lease);
criterion_main!(benches);
