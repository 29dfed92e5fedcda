//! How much memory is left: of the control group the process is in, and of what it was told it may use.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::{Level, Load, Pressure};
use crate::telemetry::resident_bytes;

const EVERY: Duration = Duration::from_millis(250);

/// Percent of the limit.
const TIGHT: u64 = 92;
const SCARCE: u64 = 95;
const OUT: u64 = 98;

pub(super) fn level(used: u64, limit: u64) -> Level {
    let percent = used.saturating_mul(100) / limit.max(1);
    match percent {
        OUT.. => Level::Out,
        SCARCE.. => Level::Scarce,
        TIGHT.. => Level::Tight,
        _ => Level::Enough,
    }
}

/// Looks four times a second, for ever.
pub(super) async fn watch(pressure: Arc<Pressure>, loads: Vec<Arc<Load>>, most: Option<u64>) {
    let group = Group::of_process();
    if group.is_none() && most.is_none() {
        return tracing::info!("memory is not limited: nothing is shed for it");
    }
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = Level::Enough;
    loop {
        ticks.tick().await;
        let told = most.and_then(|most| Some((resident_bytes()?, most)));
        let group = group.as_ref().and_then(Group::read);
        // Whichever is nearer to its end.
        let nearest = told
            .into_iter()
            .chain(group)
            .max_by_key(|(used, limit)| used.saturating_mul(1000) / (*limit).max(1));
        let Some((used, limit)) = nearest else { continue };
        let level = pressure.set(used, limit);
        if level == before {
            continue;
        }
        for load in &loads {
            load.set_late(load.late.load(Ordering::Relaxed), &pressure);
        }
        if level > before {
            tracing::warn!(?level, used, limit, "memory runs short");
        } else {
            tracing::info!(?level, used, limit, "memory recovers");
        }
        before = level;
    }
}

/// The control group whose limit is nearest.
#[derive(Debug)]
struct Group {
    used: PathBuf,
    /// Pages of files that can be dropped, which are no use that counts.
    stat: PathBuf,
    limit: u64,
}

impl Group {
    /// `None`: nothing is limited.
    fn of_process() -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::find(&own, Path::new("/sys/fs/cgroup"))
    }

    /// Version 2, then version 1; by its own path and, in a container that shows only itself, by none.
    fn find(own: &str, root: &Path) -> Option<Self> {
        let v2 = own.lines().find_map(|line| line.strip_prefix("0::/"));
        let v1 = own.lines().find_map(|line| line.split_once(":memory:/").map(|(_, path)| path));
        let candidates = [
            v2.map(|path| (root.join(path), "memory.max", "memory.current")),
            Some((root.to_owned(), "memory.max", "memory.current")),
            v1.map(|path| (root.join("memory").join(path), "memory.limit_in_bytes", "memory.usage_in_bytes")),
            Some((root.join("memory"), "memory.limit_in_bytes", "memory.usage_in_bytes")),
        ];
        candidates.into_iter().flatten().find_map(|(folder, limit, used)| {
            let limit: u64 = fs::read_to_string(folder.join(limit)).ok()?.trim().parse().ok()?;
            // Version 1 says a number where version 2 says "max".
            (limit < 1 << 60).then(|| Self {
                used: folder.join(used),
                stat: folder.join("memory.stat"),
                limit,
            })
        })
    }

    /// Bytes used, and their limit.
    fn read(&self) -> Option<(u64, u64)> {
        let used: u64 = fs::read_to_string(&self.used).ok()?.trim().parse().ok()?;
        let stat = fs::read_to_string(&self.stat).unwrap_or_default();
        let inactive = stat.lines().find_map(|line| {
            let (name, bytes) = line.split_once(' ')?;
            if matches!(name, "inactive_file" | "total_inactive_file") {
                bytes.parse::<u64>().ok()
            } else {
                None
            }
        });
        Some((used.saturating_sub(inactive.unwrap_or(0)), self.limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_by_percent() {
        for (used, expected) in [
            (0, Level::Enough),
            (919, Level::Enough),
            (920, Level::Tight),
            (950, Level::Scarce),
            (980, Level::Out),
            (2000, Level::Out),
        ] {
            assert_eq!(level(used, 1000), expected, "{used}");
        }
    }

    #[test]
    fn groups_of_both_versions_are_found() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("memory.max", "max\n");
        assert!(Group::find("0::/pods/a\n", root.path()).is_none());
        write("pods/a/memory.max", "1000\n");
        write("pods/a/memory.current", "600\n");
        write("pods/a/memory.stat", "anon 1\ninactive_file 100\n");
        assert_eq!(Group::find("0::/pods/a\n", root.path()).unwrap().read(), Some((500, 1000)));
        write("memory/old/memory.limit_in_bytes", "2000\n");
        write("memory/old/memory.usage_in_bytes", "700\n");
        assert_eq!(Group::find("5:memory:/old\n", root.path()).unwrap().read(), Some((700, 2000)));
        write("memory/old/memory.limit_in_bytes", "9223372036854771712\n");
        assert!(Group::find("5:memory:/old\n", root.path()).is_none());
    }
}
