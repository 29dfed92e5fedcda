//! The rows of the accuracy table. `L` is the limit per second, `B` the burst.

use std::collections::BTreeMap;
use std::time::Duration;

use fairway_config::quota::ServerOptions;
use policies::lease::{Expired, Limit, Mode, Terms};

use crate::chance::Chance;
use crate::figures::{Figures, row};
use crate::oracle::{Admitted, between, fullest, longest_gap};
use crate::parts::{Flow, MS, SECOND, Setting, Step};
use crate::world::World;

pub(crate) const L: u64 = 400;
const B: u64 = 200;
pub(crate) const R: u64 = SECOND;
pub(crate) const N: usize = 8;

fn limit(mode: Mode) -> Limit {
    match mode {
        Mode::TokenBucket => Limit::token_bucket(L, Duration::from_secs(1), B),
        Mode::SlidingWindow => Limit::sliding_window(L, Duration::from_secs(1)),
    }
}

pub(crate) fn setting(seed: u64, mode: Mode) -> Setting {
    let mut chance = Chance::new(seed ^ 0xabcd);
    let terms = Terms {
        limit: limit(mode),
        proxies: N as u32,
        reuse: 2 * SECOND,
        expired: Expired::Closed,
        is_lost: false,
    };
    Setting {
        seed,
        proxies: N,
        terms,
        is_keyed: false,
        server: ServerOptions { ttl: 20 * SECOND, reuse: terms.reuse, ..ServerOptions::default() },
        interval: R,
        delay: MS + chance.below(20 * MS),
        loss: 0.01,
        step: 0,
    }
}

/// So many requests a second at each of these proxies.
pub(crate) fn flows(proxies: std::ops::Range<usize>, total: f64) -> Vec<Flow> {
    let each = total / proxies.len() as f64;
    proxies.map(|proxy| Flow { proxy, tenant: 0, rate: each, cost: 1 }).collect()
}

pub(crate) fn starts(proxies: std::ops::Range<usize>, at: u64) -> Vec<(u64, Step)> {
    proxies.map(|proxy| (at, Step::Start(proxy))).collect()
}

/// `share` of the load at one proxy, the rest at the others.
pub(crate) fn skewed(hot: usize, share: f64, total: f64) -> Vec<Flow> {
    let rest = total * (1.0 - share) / (N - 1) as f64;
    let rate = |proxy| if proxy == hot { total * share } else { rest };
    (0..N).map(|proxy| Flow { proxy, tenant: 0, rate: rate(proxy), cost: 1 }).collect()
}

pub(crate) const ALL: fn(&Admitted) -> bool = |_| true;

/// `L·w·factor + B` in windows of a tenth of a second to ten seconds; in a sliding window, `L·factor` in one second, but for
/// the first three, when all begin at once without a lease: the row of the cold burst.
pub(crate) fn within(figures: &mut Figures, seed: u64, mode: Mode, log: &[Admitted], factor: f64) {
    if mode == Mode::SlidingWindow {
        let log = log.get(log.partition_point(|one| one.at < 3 * SECOND)..).unwrap_or_default();
        let most = fullest(log, SECOND, ALL).0 as f64 / L as f64;
        return figures.most(seed, "sliding window: any 1 s, of L", most, factor);
    }
    for (name, window) in [("0.1 s", SECOND / 10), ("1 s", SECOND), ("10 s", 10 * SECOND)] {
        let (most, at) = fullest(log, window, ALL);
        let most = most as f64;
        let allowed = L as f64 * window as f64 / 1e9;
        if most > allowed * factor + B as f64 {
            println!("seed {seed}: {most} in the {name} before {at} ns");
        }
        let name = format!("token bucket: any {name}, of (L·w·{factor} + B)");
        figures.most(seed, &name, most / (allowed * factor + B as f64), 1.0);
    }
}

pub(crate) fn named(mode: Mode, what: &str) -> String {
    match mode {
        Mode::TokenBucket => format!("token bucket: {what}"),
        Mode::SlidingWindow => format!("sliding window: {what}"),
    }
}

/// What is admitted without a lease while all begin at once is the row of the cold burst.
pub(crate) fn after_the_start(world: &mut World) {
    world.log.retain(|one| one.at > 3 * SECOND);
}

/// Neither side may send more than ten messages in any second.
fn messages(figures: &mut Figures, seed: u64, world: &World) {
    let most = |times: &[u64]| {
        let log: Vec<_> = times.iter().map(|at| Admitted { at: *at, proxy: 0, tenant: 0, cost: 1 }).collect();
        fullest(&log, SECOND, ALL).0 as f64
    };
    for proxy in &world.proxies {
        figures.most(seed, "messages of a proxy in any 1 s", most(&proxy.sent), 10.0);
        let both = (proxy.sent.len() + proxy.received.len()) as f64 / (world.now() as f64 / 1e9);
        figures.most(seed, "messages both ways, on average", both, 10.0);
    }
}

#[test]
fn steady_overload_is_admitted_at_the_limit() {
    row("steady", |figures, seed, mode| {
        let mut steps = starts(0..N, 0);
        steps.push((0, Step::Flows(flows(0..N, 3.0 * L as f64))));
        let mut world = World::new(setting(seed, mode), steps);
        world.run(60 * SECOND);
        let admitted = between(&world.log, 0, 60 * SECOND, ALL) as f64 / (60 * L) as f64;
        figures.least(seed, &named(mode, "admitted in 60 s, of L"), admitted, 0.98);
        figures.most(seed, &named(mode, "admitted in 60 s, of L (most)"), admitted, 1.01);
        within(figures, seed, mode, &world.log, 1.05);
        messages(figures, seed, &world);
    });
}

#[test]
fn load_that_moves_takes_its_share_along() {
    row("skew", |figures, seed, mode| {
        let shift = 20 * SECOND + Chance::new(seed).below(SECOND);
        let mut steps = starts(0..N, 0);
        steps.push((0, Step::Flows(skewed(0, 0.9, 3.0 * L as f64))));
        steps.push((shift, Step::Flows(skewed(1, 0.9, 3.0 * L as f64))));
        let mut world = World::new(setting(seed, mode), steps);
        world.run(shift + 15 * SECOND);
        let used = |from: u64| between(&world.log, from, from + 5 * SECOND, ALL) as f64 / (5 * L) as f64;
        // In a sliding window nothing that one does not use comes back to the others.
        let bound = if mode == Mode::TokenBucket { 0.95 } else { 0.75 };
        figures.least(seed, &named(mode, "used from 3R after the shift, of L"), used(shift + 3 * R), bound);
        within(figures, seed, mode, &world.log, 1.05);
        messages(figures, seed, &world);
    });
}

#[test]
fn proxies_that_come_and_go_keep_the_limit() {
    row("scale 1-8-3", |figures, seed, mode| {
        let mut chance = Chance::new(seed);
        let load = 3.0 * L as f64;
        let mut steps = starts(0..1, 0);
        steps.push((0, Step::Flows(flows(0..1, load))));
        steps.extend(starts(1..N, 15 * SECOND));
        steps.push((15 * SECOND, Step::Flows(flows(0..N, load))));
        let kills = chance.happens(0.5);
        steps.extend((3..N).map(|proxy| {
            let step = if kills { Step::Kill(proxy) } else { Step::Leave(proxy) };
            (30 * SECOND, step)
        }));
        steps.push((30 * SECOND, Step::Flows(flows(0..3, load))));
        let mut world = World::new(setting(seed, mode), steps);
        world.run(60 * SECOND);
        within(figures, seed, mode, &world.log, 1.05);
        let used = |from: u64, to: u64| {
            between(&world.log, from, to, ALL) as f64 / L as f64 * 1e9 / (to - from) as f64
        };
        figures.least(
            seed,
            &named(mode, "used from 3R after 1 to 8, of L"),
            used(18 * SECOND, 28 * SECOND),
            0.95,
        );
        // Who was killed keeps its share until it ends: 20 s, and 2 s of reuse.
        let again = if kills { 55 } else { 33 } * SECOND;
        figures.least(seed, &named(mode, "used after 8 to 3, of L"), used(again, 60 * SECOND), 0.95);
    });
}

#[test]
fn a_partition_costs_no_more_than_the_shares_behind_it() {
    row("partition", |figures, seed, mode| {
        let mut chance = Chance::new(seed);
        let is_short = chance.happens(0.5);
        let mut setting = setting(seed, mode);
        if is_short {
            setting.server.ttl = 10 * SECOND;
        } else {
            setting.server.ttl = 60 * SECOND;
            setting.terms.expired = Expired::LastShare;
        }
        let (from, to) = (20 * SECOND, 50 * SECOND);
        let mut steps = starts(0..N, 0);
        steps.push((0, Step::Flows(flows(0..N, 3.0 * L as f64))));
        steps.push((from, Step::Part(vec![1, 4, 6])));
        steps.push((to, Step::Heal));
        let mut world = World::new(setting, steps);
        world.run(60 * SECOND);
        after_the_start(&mut world);
        within(figures, seed, mode, &world.log, 1.0);
        let is_healthy = |one: &Admitted| ![1, 4, 6].contains(&one.proxy);
        let healthy = between(&world.log, from, to, is_healthy) as f64 / (30 * L) as f64;
        figures.least(
            seed,
            &named(mode, "healthy side during 30 s, of 5/8 L"),
            healthy / 0.625,
            if mode == Mode::TokenBucket { 0.99 } else { 0.96 },
        );
        for proxy in [1, 4, 6] {
            let back = between(&world.log, to + 2 * R, to + 7 * R, |one| one.proxy == proxy) as f64;
            let part = back / (5 * L) as f64 * N as f64;
            figures.least(seed, &named(mode, "each parted one from 2R after, of L/8"), part, 0.9);
        }
    });
}

#[test]
fn a_quota_server_that_is_killed_opens_and_closes_nothing() {
    row("server killed", |figures, seed, mode| {
        let mut chance = Chance::new(seed);
        let mut steps = starts(0..N, 0);
        steps.push((0, Step::Flows(flows(0..N, 3.0 * L as f64))));
        let mut at = 10 * SECOND + chance.below(5 * SECOND);
        for _ in 0..1 + chance.below(3) {
            steps.push((at, Step::KillServer));
            at += chance.below(5 * SECOND);
            steps.push((at, Step::StartServer));
            at += 2 * SECOND + chance.below(10 * SECOND);
        }
        // The load moves while the new server learns.
        let moved = (2 + chance.below(6)) as usize;
        steps.push((at, Step::Flows(skewed(moved, 0.5, 3.0 * L as f64))));
        let mut world = World::new(setting(seed, mode), steps);
        world.run(90 * SECOND);
        within(figures, seed, mode, &world.log, 1.05);
        let gap = longest_gap(&world.log, SECOND, 90 * SECOND) as f64 / R as f64;
        figures.most(seed, &named(mode, "longest time without an admission, of R"), gap, 1.0);
        for proxy in 0..N {
            let mine: Vec<_> = world.log.iter().filter(|one| one.proxy == proxy).copied().collect();
            let gap = longest_gap(&mine, 2 * SECOND, 90 * SECOND) as f64 / R as f64;
            figures.most(seed, &named(mode, "the same at each proxy, of R"), gap, 1.0);
        }
        let used = between(&world.log, 80 * SECOND, 90 * SECOND, ALL) as f64 / (10 * L) as f64;
        figures.least(seed, &named(mode, "used when all is over, of L"), used, 0.9);
    });
}

#[test]
fn ten_thousand_clients_at_once_meet_a_cold_key() {
    row("cold burst", |figures, seed, mode| {
        let mut setting = setting(seed, mode);
        setting.is_keyed = true;
        let mut steps = starts(0..N, 0);
        // 10,000 in a tenth of a second.
        steps.push((5 * SECOND, Step::Flows(flows(0..N, 100_000.0))));
        steps.push((5 * SECOND + SECOND / 10, Step::Flows(flows(0..N, 2.0 * L as f64))));
        let mut world = World::new(setting, steps);
        world.run(10 * SECOND);
        let fallback = setting.terms.fallback();
        let free = (fallback.burst as f64 + fallback.rate as f64) / 1e6 * N as f64;
        let most = fullest(&world.log, SECOND, ALL).0 as f64;
        let burst = setting.terms.limit.burst() as f64;
        figures.most(
            seed,
            &named(mode, "any 1 s, of (L + B + N·fallback)"),
            most / (L as f64 + burst + free),
            1.0,
        );
    });
}

#[test]
fn a_clock_that_jumps_changes_nothing() {
    row("clock step", |figures, seed, mode| {
        let run = |step: u64| {
            let mut setting = setting(seed, mode);
            setting.step = step;
            let mut steps = starts(0..N, 0);
            steps.push((0, Step::Flows(skewed(0, 0.5, 2.0 * L as f64))));
            steps.push((7 * SECOND, Step::Flows(skewed(3, 0.5, 2.0 * L as f64))));
            let mut world = World::new(setting, steps);
            world.run(12 * SECOND);
            world.log
        };
        let hour = 3_600 * SECOND;
        let straight = run(0);
        for step in [hour, hour.wrapping_neg()] {
            let differs = straight != run(step);
            figures.most(seed, &named(mode, "runs that differ"), f64::from(u8::from(differs)), 0.0);
        }
        assert!(!straight.is_empty());
    });
}

#[test]
fn requests_that_cost_more_count_exactly() {
    row("weighted", |figures, seed, mode| {
        let mut load = flows(0..N, 3.0 * L as f64 / 5.5);
        load.iter_mut().for_each(|flow| flow.cost = 10);
        let mut steps = starts(0..N, 0);
        steps.push((0, Step::Flows(load)));
        steps.push((40 * SECOND, Step::Flows(Vec::new())));
        let mut world = World::new(setting(seed, mode), steps);
        world.run(45 * SECOND);
        let admitted = between(&world.log, 0, 50 * SECOND, ALL);
        after_the_start(&mut world);
        within(figures, seed, mode, &world.log, 1.0);
        let server = world.server.as_ref().unwrap();
        let (_, record) = server.records().iter().next().unwrap();
        figures.most(
            seed,
            &named(mode, "tokens miscounted"),
            record.allowed().abs_diff(admitted) as f64,
            0.0,
        );
        let refused = world.refused.values().sum::<u64>();
        figures.most(
            seed,
            &named(mode, "refusals miscounted"),
            record.denied().abs_diff(refused) as f64,
            0.0,
        );
        let used = between(&world.log, 5 * SECOND, 40 * SECOND, ALL) as f64 / (35 * L) as f64;
        let bound = if mode == Mode::TokenBucket { 0.98 } else { 0.85 };
        figures.least(seed, &named(mode, "used, of L"), used, bound);
    });
}

#[test]
fn one_tenant_who_abuses_costs_the_others_nothing() {
    row("abuse", |figures, seed, _| {
        let mode = Mode::TokenBucket;
        let mut setting = setting(seed, mode);
        setting.is_keyed = true;
        let tenant = |tenant: usize, total: f64| {
            (0..N).map(move |proxy| Flow { proxy, tenant, rate: total / N as f64, cost: 1 })
        };
        // Nine use half of what they may; then one comes who uses twenty times as much.
        let nine: Vec<_> = (1..10).flat_map(|one| tenant(one, L as f64 / 2.0)).collect();
        let mut steps = starts(0..N, 0);
        steps.push((SECOND, Step::Flows(nine.clone())));
        steps.push((5 * SECOND, Step::Flows(nine.into_iter().chain(tenant(0, 20.0 * L as f64)).collect())));
        let mut world = World::new(setting, steps);
        let sum = |map: &BTreeMap<usize, u64>| map.range(1..).map(|(_, count)| *count).sum::<u64>() as f64;
        world.run(5 * SECOND);
        let (asked, refused) = (sum(&world.asked), sum(&world.refused));
        world.run(21 * SECOND);
        let share = (sum(&world.refused) - refused) / (sum(&world.asked) - asked) * 100.0;
        figures.most(seed, "others refused, in %", share, 0.1);
        let abuser = between(&world.log, 6 * SECOND, 21 * SECOND, |one| one.tenant == 0) as f64;
        figures.most(seed, "who abuses, of L", abuser / (15 * L) as f64, 1.01);
        figures.least(seed, "who abuses, of L (least)", abuser / (15 * L) as f64, 0.98);
        messages(figures, seed, &world);
    });
}

#[test]
#[ignore = "not met yet: some 0.5 % of what the others ask is refused, and 0.1 % is wanted"]
fn one_proxy_that_floods_a_shared_limit_leaves_the_others_theirs() {
    row("flooded proxy", |figures, seed, _| {
        let mode = Mode::TokenBucket;
        let mut load = flows(1..N, L as f64 / 2.0);
        load.push(Flow { proxy: 0, tenant: 1, rate: 20.0 * L as f64, cost: 1 });
        let mut steps = starts(0..N, 0);
        steps.push((0, Step::Flows(load)));
        let mut world = World::new(setting(seed, mode), steps);
        world.run(3 * SECOND);
        // Shares have been found.
        let (asked, refused) = (world.asked[&0], world.refused.get(&0).copied().unwrap_or(0));
        world.run(40 * SECOND);
        let share =
            (world.refused.get(&0).copied().unwrap_or(0) - refused) as f64 / (world.asked[&0] - asked) as f64;
        figures.most(seed, "others refused, in %", share * 100.0, 0.1);
        within(figures, seed, mode, &world.log, 1.05);
    });
}

#[test]
fn load_that_wanders_in_a_bad_network_stays_within_the_limit() {
    row("wandering", |figures, seed, mode| {
        let mut chance = Chance::new(seed);
        let mut setting = setting(seed, mode);
        (setting.delay, setting.loss) = (MS + chance.below(150 * MS), 0.05);
        let mut steps = starts(0..N, 0);
        for at in (0..60).step_by(3) {
            let load = skewed(
                chance.below(8) as usize,
                0.3 + 0.6 * chance.unit(),
                (0.5 + 3.0 * chance.unit()) * L as f64,
            );
            steps.push((at * SECOND, Step::Flows(load)));
        }
        for at in [15, 35] {
            let parted = (0..N).filter(|_| chance.happens(0.3)).collect();
            steps.push((at * SECOND, Step::Part(parted)));
            steps.push(((at + 3 + chance.below(12)) * SECOND, Step::Heal));
        }
        steps.push((40 * SECOND, Step::KillServer));
        steps.push((42 * SECOND, Step::StartServer));
        let mut world = World::new(setting, steps);
        world.run(60 * SECOND);
        after_the_start(&mut world);
        within(figures, seed, mode, &world.log, 1.05);
        messages(figures, seed, &world);
    });
}
