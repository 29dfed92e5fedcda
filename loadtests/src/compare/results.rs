//! Figures of a comparison and the ratios between them.

use serde::Serialize;

use crate::client::load::Tally;
use crate::peers::{Job, Kind};
use crate::report::median;
use crate::scenario::Scenario;

/// Everything.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) rounds: usize,
    pub(super) is_quick: bool,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) idle: Vec<Idle>,
}

/// One scenario.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) rate: f64,
    pub(super) jobs: usize,
    /// The most CPU that Fairway may take, over Envoy's.
    pub(super) limit: Option<f64>,
    pub(super) contestants: Vec<Contestant>,
    /// Share of the machine's CPUs that other programs used meanwhile, 0 to 1.
    pub(super) foreign: f64,
}

/// One proxy with one job in one scenario.
#[derive(Debug)]
pub(super) struct Contestant {
    pub(super) kind: Kind,
    pub(super) job: Job,
    pub(super) closed: Vec<Sample>,
    pub(super) open: Vec<Sample>,
    pub(super) start_kib: u64,
    pub(super) loaded_kib: u64,
    /// Set: its figures do not count.
    pub(super) error: Option<String>,
}

/// One proxy in one round.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sample {
    pub(super) requests: u64,
    pub(super) errors: u64,
    pub(super) cpu_micros_per_request: f64,
    pub(super) requests_per_second: f64,
    pub(super) p50_micros: f64,
    pub(super) p99_micros: f64,
}

/// Memory per idle connection.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Idle {
    pub(super) peer: &'static str,
    pub(super) connections: usize,
    pub(super) start_mib: Option<f64>,
    /// Client connections whose requests left no connection to the backend.
    pub(super) plain: Option<IdleFigure>,
    pub(super) tls: Option<IdleFigure>,
    /// Client connections, each with a connection to the backend in the pool.
    pub(super) plain_with_upstream: Option<IdleFigure>,
    pub(super) tls_with_upstream: Option<IdleFigure>,
    pub(super) error: Option<String>,
}

/// One measurement of memory.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct IdleFigure {
    pub(super) kib_per_connection: f64,
    /// Connections to the backend that were open then.
    pub(super) pooled: usize,
}

impl Report {
    pub(super) const fn new(rounds: usize, is_quick: bool) -> Self {
        Self { rounds, is_quick, outcomes: Vec::new(), idle: Vec::new() }
    }

    /// False when anything went wrong.
    pub(super) fn is_valid(&self) -> bool {
        self.outcomes.iter().flat_map(|o| &o.contestants).all(|c| c.error.is_none())
            && self.idle.iter().all(|i| i.error.is_none())
    }

    /// False when Fairway took more than it may.
    pub(super) fn is_within(&self) -> bool {
        self.outcomes.iter().filter_map(Outcome::judged).all(|(most, is)| is <= most)
    }
}

impl Outcome {
    pub(super) const fn new(scenario: &Scenario, rate: f64) -> Self {
        let Scenario { name, title, jobs, limit, .. } = *scenario;
        Self { name, title, rate, jobs: jobs.len(), limit, contestants: Vec::new(), foreign: 0.0 }
    }

    /// CPU of `of` over that of the peer `to` with the same job: the median of the ratios of each round.
    pub(super) fn ratio(&self, of: &Contestant, to: Kind) -> Option<f64> {
        let to = self.contestants.iter().find(|c| c.kind == to && c.job == of.job)?;
        ratio(of, to)
    }

    /// The limit there is, and what Fairway took of Envoy's CPU; none where both did not run.
    pub(super) fn judged(&self) -> Option<(f64, f64)> {
        let fairway = self.contestants.iter().find(|c| c.kind == Kind::Fairway)?;
        Some((self.limit?, self.ratio(fairway, Kind::Envoy)?))
    }

    /// True when other programs were so busy that the figures say little.
    pub(super) fn is_disturbed(&self) -> bool {
        self.foreign > 0.1
    }

    /// CPU over that of the same proxy with the first job of the scenario; none for the first itself.
    pub(super) fn growth(&self, of: &Contestant) -> Option<f64> {
        let first = self.contestants.iter().find(|c| c.kind == of.kind)?;
        if first.job == of.job { None } else { ratio(of, first) }
    }
}

fn ratio(of: &Contestant, to: &Contestant) -> Option<f64> {
    if of.error.is_some() || to.error.is_some() {
        return None;
    }
    let cpu = |c: &Contestant| c.closed.iter().map(|s| s.cpu_micros_per_request).collect::<Vec<_>>();
    median(cpu(of).iter().zip(cpu(to)).map(|(of, to)| of / to))
}

impl Contestant {
    pub(super) const fn new(kind: Kind, job: Job) -> Self {
        Self { kind, job, closed: Vec::new(), open: Vec::new(), start_kib: 0, loaded_kib: 0, error: None }
    }

    pub(super) fn fail(&mut self, why: String) {
        self.error.get_or_insert(why);
    }

    /// Median over the rounds at full speed.
    pub(super) fn closed(&self, field: impl Fn(&Sample) -> f64) -> Option<f64> {
        median(self.closed.iter().map(field))
    }

    /// Median over the rounds at a fixed rate.
    pub(super) fn open(&self, field: impl Fn(&Sample) -> f64) -> Option<f64> {
        median(self.open.iter().map(field))
    }

    /// The least CPU of any round: what the code costs when nothing disturbs.
    pub(super) fn best(&self) -> Option<f64> {
        self.closed.iter().map(|s| s.cpu_micros_per_request).filter(|v| v.is_finite()).min_by(f64::total_cmp)
    }
}

impl Sample {
    pub(super) fn new(tally: &Tally, cpu_micros: u64) -> Self {
        let requests = tally.latency.count();
        Self {
            requests,
            errors: tally.errors,
            cpu_micros_per_request: cpu_micros as f64 / requests as f64,
            requests_per_second: requests as f64 / tally.elapsed.as_secs_f64(),
            p50_micros: tally.latency.micros(0.5),
            p99_micros: tally.latency.micros(0.99),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario;

    fn contestant(kind: Kind, job: Job, cpu: &[f64]) -> Contestant {
        let mut contestant = Contestant::new(kind, job);
        contestant.closed = cpu
            .iter()
            .map(|cpu| Sample {
                requests: 1,
                errors: 0,
                cpu_micros_per_request: *cpu,
                requests_per_second: 1.0,
                p50_micros: 1.0,
                p99_micros: 1.0,
            })
            .collect();
        contestant
    }

    #[test]
    fn ratios_are_taken_within_a_round_so_a_slow_round_does_not_show() {
        let mut outcome = Outcome::new(&scenario::ALL[6], 1.0);
        outcome.contestants = vec![
            contestant(Kind::Fairway, Job::routes(10, 10), &[10.0, 30.0, 11.0]),
            contestant(Kind::Floor, Job::routes(10, 10), &[10.0, 30.0, 10.0]),
            contestant(Kind::Fairway, Job::routes(5000, 10), &[12.0, 36.0, 12.0]),
            contestant(Kind::Fairway, Job::routes(5000, 5000), &[13.0, 39.0, 14.3]),
        ];
        let [small, floor, large, spread] = &outcome.contestants[..] else { panic!() };
        assert_eq!(outcome.ratio(small, Kind::Floor), Some(1.0));
        assert_eq!(outcome.ratio(large, Kind::Floor), None, "the floor has no such job");
        assert_eq!(outcome.growth(large), Some(1.2));
        assert_eq!(outcome.growth(spread), Some(1.3));
        assert_eq!(outcome.growth(floor), None);
    }

    #[test]
    fn a_limit_is_judged_where_both_have_run() {
        let scenario = scenario::ALL.iter().find(|scenario| scenario.limit.is_some()).unwrap();
        let limit = scenario.limit.unwrap();
        let within = |ours: f64| {
            let mut outcome = Outcome::new(scenario, 1.0);
            let job = scenario.jobs[0];
            outcome.contestants =
                vec![contestant(Kind::Fairway, job, &[ours]), contestant(Kind::Envoy, job, &[100.0])];
            let mut report = Report::new(1, false);
            report.outcomes.push(outcome);
            let judged = report.outcomes[0].judged();
            (judged, report.is_within())
        };
        assert_eq!(within(100.0 * limit), (Some((limit, limit)), true));
        assert!(!within(101.0 * limit).1);
        let mut alone = Outcome::new(scenario, 1.0);
        alone.contestants = vec![contestant(Kind::Fairway, scenario.jobs[0], &[1.0])];
        assert_eq!(alone.judged(), None);
    }

    #[test]
    fn a_run_with_errors_has_no_ratio_and_is_not_valid() {
        let mut report = Report::new(1, false);
        let mut outcome = Outcome::new(&scenario::ALL[0], 1.0);
        outcome.contestants = vec![
            contestant(Kind::Fairway, Job::PLAIN, &[10.0]),
            contestant(Kind::Floor, Job::PLAIN, &[10.0]),
        ];
        outcome.contestants[0].fail("3 requests failed".to_owned());
        assert_eq!(outcome.ratio(&outcome.contestants[0], Kind::Floor), None);
        assert_eq!(outcome.ratio(&outcome.contestants[1], Kind::Fairway), None);
        report.outcomes.push(outcome);
        assert!(!report.is_valid());
    }
}
