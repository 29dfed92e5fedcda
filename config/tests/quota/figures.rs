//! The worst of all seeds, beside its bound.

use std::collections::BTreeMap;

use policies::lease::Mode;

pub(crate) fn seeds() -> u64 {
    std::env::var("QUOTA_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(4)
}

/// The worst of all seeds beside the bound.
#[derive(Default)]
pub(crate) struct Figures(BTreeMap<String, Figure>);

struct Figure {
    worst: f64,
    bound: f64,
    is_most: bool,
    seed: u64,
}

impl Figures {
    pub(crate) fn most(&mut self, seed: u64, name: &str, value: f64, bound: f64) {
        self.note(seed, name, value, bound, true);
    }

    pub(crate) fn least(&mut self, seed: u64, name: &str, value: f64, bound: f64) {
        self.note(seed, name, value, bound, false);
    }

    fn note(&mut self, seed: u64, name: &str, value: f64, bound: f64, is_most: bool) {
        let new = Figure { worst: value, bound, is_most, seed };
        let figure = self.0.entry(name.to_owned()).or_insert(new);
        // By how far it is within its bound, which may differ between seeds.
        let is_worse =
            if is_most { value - bound > figure.worst - figure.bound } else { value < figure.worst };
        if is_worse {
            *figure = Figure { worst: value, bound, is_most, seed };
        }
    }

    fn show(&self, row: &str, seeds: u64) {
        for (name, Figure { worst, bound, is_most, seed }) in &self.0 {
            let sign = if *is_most { "<=" } else { ">=" };
            println!(
                "{row:>14} | {name:<50} | worst {worst:>8.4} {sign} {bound:.4} (seed {seed} of {seeds})"
            );
        }
    }

    fn judge(self, row: &str, seeds: u64) {
        self.show(row, seeds);
        let mut failed = Vec::new();
        for (name, Figure { worst, bound, is_most, seed }) in &self.0 {
            let sign = if *is_most { "<=" } else { ">=" };
            let holds = if *is_most { worst <= bound } else { worst >= bound };
            if !holds {
                failed.push(format!("{name}: {worst} {sign} {bound}, seed {seed}"));
            }
        }
        assert!(failed.is_empty(), "{row}: {failed:#?}");
    }
}

/// Runs a row for each seed and mode.
pub(crate) fn row(name: &str, one: impl Fn(&mut Figures, u64, Mode)) {
    let mut figures = Figures::default();
    let first = std::env::var("QUOTA_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    for seed in first..first + seeds() {
        for mode in MODES {
            one(&mut figures, seed, mode);
        }
        if (seed + 1) % 100 == 0 && seed + 1 < first + seeds() {
            // A thousand take a while.
            figures.show(name, seed + 1);
        }
    }
    figures.judge(name, seeds());
}

pub(crate) const MODES: [Mode; 2] = [Mode::TokenBucket, Mode::SlidingWindow];
