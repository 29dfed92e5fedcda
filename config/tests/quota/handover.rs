//! Servers that go on from what the last one left.

use crate::chance::Chance;
use crate::figures::row;
use crate::oracle::{between, longest_gap};
use crate::parts::{SECOND, Step};
use crate::rows::{ALL, L, N, R, after_the_start, flows, named, setting, skewed, starts, within};
use crate::world::World;

#[test]
fn a_quota_server_that_finds_what_the_last_one_left_goes_on() {
    row("server goes on", |figures, seed, mode| {
        let mut chance = Chance::new(seed);
        let mut steps = starts(0..N, 0);
        steps.push((0, Step::Flows(flows(0..N, 3.0 * L as f64))));
        let mut at = 10 * SECOND + chance.below(5 * SECOND);
        // Load moves, and some cannot be heard, before the kill or after.
        let parted = vec![1, 4];
        for turn in 0..3 {
            let hot = (2 + chance.below(2) + 3 * (turn % 2)) as usize;
            steps.push((
                at - SECOND + chance.below(2 * SECOND),
                Step::Flows(skewed(hot, 0.5, 3.0 * L as f64)),
            ));
            steps.push((at - SECOND + chance.below(2 * SECOND), Step::Part(parted.clone())));
            steps.push((at, Step::KillServer));
            at += chance.below(3 * SECOND);
            steps.push((at, Step::ResumeServer));
            at += 4 * SECOND + chance.below(4 * SECOND);
            steps.push((at, Step::Heal));
            at += 2 * SECOND + chance.below(2 * SECOND);
        }
        steps.push((at, Step::Flows(skewed(7, 0.9, 3.0 * L as f64))));
        let mut world = World::new(setting(seed, mode), steps);
        world.keep();
        world.run(at + 10 * SECOND);
        after_the_start(&mut world);
        within(figures, seed, mode, &world.log, 1.05);
        let gap = longest_gap(&world.log, 3 * SECOND, at + 10 * SECOND) as f64 / R as f64;
        figures.most(seed, &named(mode, "longest time without an admission, of R"), gap, 1.0);
        // As much as without a kill; a server that learns has 0.7 of it.
        let used = between(&world.log, at + 3 * SECOND, at + 10 * SECOND, ALL) as f64 / (7 * L) as f64;
        figures.least(seed, &named(mode, "used from 3R after the load moved, of L"), used, 0.8);
    });
}
