//! What the operating system says of this process, under the names every Prometheus client library uses.

use std::fs;

/// Ticks of `/proc` per second: fixed in the kernel's user interface on every architecture Fairway is built for.
const TICKS: f64 = 100.0;

/// What the operating system says; fields it does not say are left out of the scrape.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(crate) struct Process {
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) open_fds: Option<u64>,
    pub(crate) max_fds: Option<u64>,
    pub(crate) cpu_seconds: Option<f64>,
    /// Since 1970.
    pub(crate) start_seconds: Option<f64>,
}

impl Process {
    /// Reads `/proc`; nothing is known where there is none.
    pub(crate) fn read() -> Self {
        let file = |name| fs::read_to_string(name).unwrap_or_default();
        let stat = file("/proc/self/stat");
        let boot = number(&file("/proc/stat"), "btime ");
        Self {
            resident_bytes: resident_bytes(),
            open_fds: fs::read_dir("/proc/self/fd").ok().and_then(|fds| u64::try_from(fds.count()).ok()),
            max_fds: number(&file("/proc/self/limits"), "Max open files"),
            // proc_pid_stat(5): utime is field 14, stime 15, starttime 22.
            cpu_seconds: field(&stat, 14).zip(field(&stat, 15)).map(|(user, system)| (user + system) / TICKS),
            start_seconds: field(&stat, 22).zip(boot).map(|(ticks, boot)| boot_seconds(boot) + ticks / TICKS),
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
fn boot_seconds(boot: u64) -> f64 {
    boot as f64
}

/// Resident memory of the process; `None` where nobody says.
pub(crate) fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    number(&status, "VmRSS:").map(|kib| kib * 1024)
}

/// How many descriptors the process may have; `None` where nobody says.
pub(crate) fn max_descriptors() -> Option<usize> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    number(&limits, "Max open files").and_then(|most| usize::try_from(most).ok())
}

/// The number after `name` at the start of a line.
fn number(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

/// A field of `/proc/self/stat`, counted from 1. The second, the program's name, may hold anything: count from its end.
fn field(stat: &str, wanted: usize) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(wanted.checked_sub(3)?)?.parse().ok()
}
