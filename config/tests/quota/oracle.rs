//! What was admitted, judged exactly: every sliding window, not only those that begin on a full second.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Admitted {
    pub(crate) at: u64,
    pub(crate) proxy: usize,
    pub(crate) tenant: usize,
    pub(crate) cost: u64,
}

/// The most that any window of this length holds, and when that window ends.
pub(crate) fn fullest(log: &[Admitted], window: u64, count: impl Fn(&Admitted) -> bool) -> (u64, u64) {
    let (mut sum, mut most, mut at, mut first) = (0, 0, 0, 0);
    for last in log {
        sum += if count(last) { last.cost } else { 0 };
        while log[first].at + window <= last.at {
            sum -= if count(&log[first]) { log[first].cost } else { 0 };
            first += 1;
        }
        if sum > most {
            (most, at) = (sum, last.at);
        }
    }
    (most, at)
}

/// What was admitted from `from` to before `to`.
pub(crate) fn between(log: &[Admitted], from: u64, to: u64, count: impl Fn(&Admitted) -> bool) -> u64 {
    log.iter().filter(|one| one.at >= from && one.at < to && count(one)).map(|one| one.cost).sum()
}

/// The longest time in which nothing was admitted.
pub(crate) fn longest_gap(log: &[Admitted], from: u64, to: u64) -> u64 {
    let mut last = from;
    let mut longest = 0;
    for at in log.iter().map(|one| one.at).filter(|at| (from..to).contains(at)).chain([to]) {
        longest = longest.max(at - last);
        last = at;
    }
    longest
}

#[test]
fn the_fullest_window_is_found_wherever_it_begins() {
    let log: Vec<_> = [0, 900, 1_000, 1_100, 1_899, 1_900]
        .into_iter()
        .map(|at| Admitted { at, proxy: 0, tenant: 0, cost: 1 })
        .collect();
    // (899, 1899]: what is a whole window old is out.
    assert_eq!(fullest(&log, 1_000, |_| true), (4, 1_899));
    assert_eq!(between(&log, 900, 1_100, |_| true), 2);
    assert_eq!(longest_gap(&log, 0, 2_000), 900);
}
