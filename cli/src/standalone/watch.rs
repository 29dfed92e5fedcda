//! Tells which files changed, as soon as they are complete.
//!
//! A file that is being written is not complete: only its closing, its moving into place and its removal count. Many
//! editors save by moving the old file away and writing a new one: a file that is gone is given a moment to come back, and
//! one that is back is not looked at until it is closed. Nothing else waits: what comes while a change is applied is taken
//! together after it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

/// How long a file may be gone between two steps of one save.
const GRACE: Duration = Duration::from_millis(5);

/// Watches directories.
pub(crate) struct Watch {
    watcher: RecommendedWatcher,
    /// As given, and as events name them.
    directories: Vec<(PathBuf, PathBuf)>,
    events: mpsc::UnboundedReceiver<Seen>,
    /// Created and not closed yet.
    writing: HashSet<PathBuf>,
}

/// What an event says.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// These are complete, or gone.
    Files(Vec<PathBuf>),
    /// These are there and not complete yet.
    Writing(Vec<PathBuf>),
    /// Some may have been missed: look at all.
    Anything,
}

/// What changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    Files(Vec<PathBuf>),
    Anything,
}

impl Watch {
    /// Starts to watch.
    pub(crate) fn new(directories: Vec<PathBuf>) -> anyhow::Result<Self> {
        let (sender, events) = mpsc::unbounded_channel();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if let Some(seen) = event.map_or(Some(Seen::Anything), |event| read(&event)) {
                // The receiver is gone when the process ends.
                let _ = sender.send(seen);
            }
        })
        .context("cannot watch files")?;
        let mut watch = Self { watcher, directories: Vec::new(), events, writing: HashSet::new() };
        for directory in directories {
            let absolute = std::path::absolute(&directory)
                .map_err(notify::Error::io)
                .and_then(|absolute| watch.add(&absolute).map(|()| absolute))
                .with_context(|| format!("cannot watch {}", directory.display()))?;
            watch.directories.push((directory, absolute));
        }
        Ok(watch)
    }

    /// The path as the directory was given: people know that one.
    fn as_given(&self, path: PathBuf) -> PathBuf {
        let given = self
            .directories
            .iter()
            .find_map(|(given, absolute)| path.strip_prefix(absolute).ok().map(|rest| given.join(rest)));
        given.unwrap_or(path)
    }

    fn add(&mut self, directory: &Path) -> notify::Result<()> {
        self.watcher.watch(directory, RecursiveMode::NonRecursive)
    }

    /// The next change; everything that is known by now.
    pub(crate) async fn next(&mut self) -> Changed {
        loop {
            let Some(first) = self.events.recv().await else { return std::future::pending().await };
            let mut gathered = Gathered::default();
            self.gather(first, &mut gathered);
            if gathered.files.iter().any(|file| !file.exists()) {
                tokio::time::sleep(GRACE).await;
                self.gather(Seen::Files(Vec::new()), &mut gathered);
            }
            // A directory that was replaced is another one: watch that. Until it is there its files are gone anyway.
            for (_, directory) in self.directories.clone() {
                if gathered.files.contains(&directory) {
                    gathered.is_anything = true;
                    let _ = self.watcher.unwatch(&directory);
                    let _ = self.add(&directory);
                }
            }
            if gathered.is_anything {
                self.writing.clear();
                return Changed::Anything;
            }
            let mut files = gathered.files;
            files.retain(|file| !self.writing.contains(file));
            files.sort();
            files.dedup();
            if !files.is_empty() {
                return Changed::Files(files.into_iter().map(|path| self.as_given(path)).collect());
            }
        }
    }

    fn gather(&mut self, first: Seen, gathered: &mut Gathered) {
        let mut next = Some(first);
        while let Some(seen) = next {
            match seen {
                Seen::Files(files) => {
                    for file in &files {
                        self.writing.remove(file);
                    }
                    gathered.files.extend(files);
                }
                Seen::Writing(files) => self.writing.extend(files),
                Seen::Anything => gathered.is_anything = true,
            }
            next = self.events.try_recv().ok();
        }
    }
}

/// What some events say together.
#[derive(Default)]
struct Gathered {
    files: Vec<PathBuf>,
    is_anything: bool,
}

fn read(event: &Event) -> Option<Seen> {
    if event.need_rescan() {
        return Some(Seen::Anything);
    }
    let is_closed = event.kind == EventKind::Access(AccessKind::Close(AccessMode::Write));
    let is_moved_or_gone =
        matches!(event.kind, EventKind::Modify(ModifyKind::Name(_)) | EventKind::Remove(_));
    // A link is complete at once and is never closed.
    let is_created = event.kind.is_create();
    let is_linked = is_created && event.paths.iter().any(|path| is_link(path));
    // Other systems do not tell when a file is closed.
    let is_written = cfg!(not(target_os = "linux")) && (event.kind.is_modify() || is_created);
    if !(is_closed || is_moved_or_gone || is_linked || is_written) {
        let is_file = is_created && event.paths.iter().any(|path| path.is_file());
        return is_file.then(|| Seen::Writing(event.paths.clone()));
    }
    // A mounted ConfigMap changes as a whole, by its link `..data`.
    let is_mount = event.paths.iter().any(|path| path.file_name().is_some_and(|name| name == "..data"));
    Some(if is_mount { Seen::Anything } else { Seen::Files(event.paths.clone()) })
}

fn is_link(path: &Path) -> bool {
    let Ok(metadata) = path.symlink_metadata() else { return false };
    #[cfg(unix)]
    let is_hard = std::os::unix::fs::MetadataExt::nlink(&metadata) > 1;
    #[cfg(not(unix))]
    let is_hard = false;
    metadata.is_symlink() || is_hard
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::CreateKind;
    use std::fs;
    use std::time::Duration;

    async fn next(watch: &mut Watch) -> Changed {
        tokio::time::timeout(Duration::from_secs(20), watch.next()).await.expect("a change is seen")
    }

    #[tokio::test(flavor = "current_thread")]
    async fn saves_of_every_kind_are_seen() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_path_buf();
        let mut watch = Watch::new(vec![root.clone()]).unwrap();
        let (file, other) = (root.join("a.yaml"), root.join("b.yaml"));
        fs::write(&file, "1").unwrap();
        assert_eq!(next(&mut watch).await, Changed::Files(vec![file.clone()]));
        // As editors save: a new file takes the place of the old.
        fs::write(root.join(".a.tmp"), "2").unwrap();
        fs::rename(root.join(".a.tmp"), &file).unwrap();
        let mut seen = Vec::new();
        while !seen.contains(&file) {
            match next(&mut watch).await {
                Changed::Files(files) => seen.extend(files),
                Changed::Anything => break,
            }
        }
        fs::remove_file(&file).unwrap();
        assert_eq!(next(&mut watch).await, Changed::Files(vec![file]));
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("/dev/null", &other).unwrap();
            assert_eq!(next(&mut watch).await, Changed::Files(vec![other]));
            std::os::unix::fs::symlink("x", root.join("..data")).unwrap();
            assert_eq!(next(&mut watch).await, Changed::Anything);
        }
    }

    /// Saves as editors do and returns what was there to be read at each change that named the file.
    #[cfg(target_os = "linux")]
    async fn save_in_several_steps() -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_path_buf();
        let file = root.join("a.yaml");
        fs::write(&file, "old").unwrap();
        let mut watch = Watch::new(vec![root.clone()]).unwrap();
        let (writer, at) = (file.clone(), root.join("a.yaml~"));
        let saved = std::thread::spawn(move || {
            use std::io::Write as _;
            fs::rename(&writer, &at).unwrap();
            let mut out = fs::File::create(&writer).unwrap();
            for part in ["n", "e", "w"] {
                std::thread::sleep(Duration::from_millis(30));
                out.write_all(part.as_bytes()).unwrap();
            }
            drop(out);
            fs::remove_file(&at).unwrap();
        });
        let mut read = Vec::new();
        while read.last().is_none_or(|last| last != "new") {
            let Changed::Files(files) = next(&mut watch).await else { continue };
            if files.contains(&file) {
                read.push(fs::read_to_string(&file).unwrap_or_default());
            }
        }
        saved.join().unwrap();
        read
    }

    #[cfg(target_os = "linux")]
    #[tokio::test(flavor = "current_thread")]
    async fn a_save_in_several_steps_is_one_change() {
        // On a busy machine the file may be gone for longer than the grace: then that is a change of its own.
        for _ in 0..20 {
            if save_in_several_steps().await == ["new"] {
                return;
            }
        }
        panic!("no save of 20 was one change");
    }

    #[test]
    fn a_file_that_is_being_written_is_left_alone() {
        let kinds = [
            EventKind::Create(CreateKind::Folder),
            EventKind::Modify(ModifyKind::Metadata(notify::event::MetadataKind::Any)),
            EventKind::Access(AccessKind::Open(AccessMode::Any)),
        ];
        for kind in kinds {
            let event = Event::new(kind).add_path("/nowhere/a.yaml".into());
            assert_eq!(read(&event), None, "{kind:?}");
        }
    }
}
