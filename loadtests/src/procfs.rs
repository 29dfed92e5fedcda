//! What the kernel says of a process and its children.

use std::fs;

/// `pid` and every process below it.
pub(crate) fn tree(pid: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|child| Some((child, stat(child)?.parent)))
        .collect();
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(parents.iter().filter(|(_, p)| *p == parent).map(|(child, _)| *child));
        next += 1;
    }
    found
}

/// User and system time used by `pids` and by their children that ended, in microseconds. Resolution: a clock tick,
/// usually 10 ms.
pub(crate) fn cpu_micros(pids: &[u32]) -> u64 {
    let tick = 1_000_000 / rustix::param::clock_ticks_per_second().max(1);
    pids.iter().filter_map(|pid| stat(*pid)).map(|s| s.ticks * tick).sum()
}

/// Time that all CPUs were not idle since the start of the machine, in microseconds, and the time of all together.
pub(crate) fn machine_micros() -> (u64, u64) {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let tick = 1_000_000 / rustix::param::clock_ticks_per_second().max(1);
    let (busy, all) = machine_ticks(&text);
    (busy * tick, all * tick)
}

fn machine_ticks(text: &str) -> (u64, u64) {
    let line = text.lines().find_map(|l| l.strip_prefix("cpu ")).unwrap_or_default();
    // user nice system idle iowait irq softirq steal; what follows is counted in them already
    let times: Vec<u64> = line.split_whitespace().take(8).filter_map(|n| n.parse().ok()).collect();
    let idle = times.iter().skip(3).take(2).sum::<u64>();
    let all = times.iter().sum::<u64>();
    (all - idle, all)
}

/// Proportional set size of `pids` in KiB: shared pages count once.
pub(crate) fn pss_kib(pids: &[u32]) -> u64 {
    pids.iter()
        .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok())
        .map(|t| pss(&t))
        .sum()
}

/// Open files of `pids`.
pub(crate) fn descriptors(pids: &[u32]) -> usize {
    pids.iter().filter_map(|pid| fs::read_dir(format!("/proc/{pid}/fd")).ok()).map(Iterator::count).sum()
}

fn pss(rollup: &str) -> u64 {
    let line = rollup.lines().find_map(|l| l.strip_prefix("Pss:"));
    line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

struct Stat {
    parent: u32,
    ticks: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The name is in brackets and may hold spaces and brackets; the third field follows the last one.
    let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_whitespace().collect();
    let number = |i: usize| fields.get(i)?.parse::<u64>().ok();
    Some(Stat { parent: u32::try_from(number(1)?).ok()?, ticks: number(11)? + number(12)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let text = "7 (a (b) c) S 3 7 7 0 -1 4194560 1 0 0 0 250 50 4 2 20 0 1 0 9 0 0";
        let stat = parse_stat(text).unwrap();
        assert_eq!((stat.parent, stat.ticks), (3, 300));
    }

    #[test]
    fn a_machine_is_busy_when_it_is_neither_idle_nor_waiting() {
        assert_eq!(machine_ticks("cpu  1 2 3 40 50 6 7 8 9 9\ncpu0 1 1 1 1\n"), (27, 117));
        assert_eq!(machine_ticks(""), (0, 0));
    }

    #[test]
    fn this_process_has_memory_and_is_in_its_own_tree() {
        let me = std::process::id();
        assert!(tree(me).contains(&me));
        assert!(pss_kib(&[me]) > 100);
        assert!(descriptors(&[me]) > 2);
        assert_eq!(pss("Rss: 9 kB\nPss:    123 kB\nPss_Dirty: 5 kB\n"), 123);
    }
}
