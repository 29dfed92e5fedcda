//! A file of IR documents, watched.
//!
//! What a reader would get wrong: the directory is watched, not the file, because editors and mounted ConfigMaps put a
//! new file in its place.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use super::{Answer, Publisher, Source, channel};
use crate::{Resources, Update, decode_documents};

/// Why a file cannot be a source.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{path}: cannot be read")]
    Read {
        /// Of the file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It is not IR.
    #[error("{path}: {message}")]
    Decode {
        /// Of the file.
        path: PathBuf,
        /// Place and reason.
        message: String,
    },
    /// Changes of it cannot be seen.
    #[error("{path}: cannot be watched")]
    Watch {
        /// Of the file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: notify::Error,
    },
}

/// Serves a file of documents as [`encode_documents`](crate::encode_documents) writes them (with keys revealed), and each
/// change of it. A change that cannot be read is logged, and what was read last holds. The receiver gets every answer
/// of the proxy. Runs on the current runtime until either end is dropped.
///
/// # Errors
/// When the file cannot be read or watched now.
pub fn file(path: &Path) -> Result<(Source, mpsc::Receiver<Answer>), FileError> {
    let (seen, changes) = mpsc::channel(1);
    // Before the first read: what changes in between is seen.
    let watcher = watch(path, seen).map_err(|source| FileError::Watch { path: path.to_owned(), source })?;
    let first = read(path)?;
    let (publisher, source) = channel();
    let (told, answers) = mpsc::channel(16);
    let following =
        Following { path: path.to_owned(), served: Resources::new(), version: 0, publisher, told };
    tokio::spawn(following.run(first, changes, watcher));
    Ok((source, answers))
}

fn read(path: &Path) -> Result<Resources, FileError> {
    let text =
        fs::read_to_string(path).map_err(|source| FileError::Read { path: path.to_owned(), source })?;
    decode_documents(&text).map_err(|message| FileError::Decode { path: path.to_owned(), message })
}

fn watch(path: &Path, seen: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let path = std::path::absolute(path).map_err(notify::Error::io)?;
    let directory = path.parent().unwrap_or(Path::new("/")).to_owned();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        if event.is_ok_and(|event| is_complete(&event)) {
            // One that waits already stands for this one too.
            let _ = seen.try_send(());
        }
    })?;
    watcher.watch(&directory, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// A file that is being written is left alone until it is closed or moved into place.
fn is_complete(event: &Event) -> bool {
    event.need_rescan()
        || matches!(
            event.kind,
            EventKind::Access(AccessKind::Close(AccessMode::Write))
                | EventKind::Modify(ModifyKind::Name(_))
                | EventKind::Create(_)
        )
        || (cfg!(not(target_os = "linux")) && matches!(event.kind, EventKind::Modify(_)))
}

struct Following {
    path: PathBuf,
    served: Resources,
    version: u64,
    publisher: Publisher,
    told: mpsc::Sender<Answer>,
}

impl Following {
    async fn run(mut self, first: Resources, mut changes: mpsc::Receiver<()>, _watcher: RecommendedWatcher) {
        let mut next = Some(first);
        loop {
            if let Some(next) = next.take()
                && self.publish(next).await.is_none()
            {
                return;
            }
            let changed = tokio::select! {
                changed = changes.recv() => changed,
                () = self.publisher.updates.closed() => None,
            };
            if changed.is_none() {
                return;
            }
            match read(&self.path) {
                Ok(resources) => next = Some(resources),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the last good one is served on")
                }
            }
        }
    }

    /// `None`: nobody listens any more.
    async fn publish(&mut self, next: Resources) -> Option<()> {
        let update = Update::between(self.version + 1, &self.served, &next);
        if update.is_empty() && self.version > 0 {
            return Some(());
        }
        self.version += 1;
        self.served = next;
        self.publisher.updates.send(update).await.ok()?;
        let answer = self.publisher.answers.recv().await?;
        // Nobody has to want to know.
        let _ = self.told.try_send(answer);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn within<F: Future>(future: F) -> F::Output {
        tokio::time::timeout(Duration::from_secs(20), future).await.expect("nothing happened for 20 s")
    }

    fn backend(name: &str) -> String {
        format!("---\nkey: Backend/default/{name}:80\nresource: {{kind: Backend}}\n")
    }

    async fn next(source: &mut Source) -> Update {
        let update = within(source.updates.recv()).await.unwrap();
        source.answers.send(Answer { version: update.version, rejections: Vec::new() }).await.unwrap();
        update
    }

    #[tokio::test]
    async fn a_saved_file_is_an_update_and_a_broken_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ir.yaml");
        fs::write(&path, backend("a")).unwrap();
        let (mut source, mut answers) = file(&path).unwrap();
        let first = next(&mut source).await;
        assert_eq!((first.version, first.upserts.len(), first.removes.len()), (1, 1, 0));
        assert_eq!(within(answers.recv()).await.unwrap().version, 1);
        fs::write(&path, "key: nonsense").unwrap();
        // As editors save.
        fs::write(dir.path().join("new"), backend("b")).unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        let second = next(&mut source).await;
        assert_eq!((second.version, second.upserts.len(), second.removes.len()), (2, 1, 1));
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_or_no_ir_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ir.yaml");
        assert!(matches!(file(&path), Err(FileError::Read { .. })));
        fs::write(&path, "key: nonsense").unwrap();
        assert!(matches!(file(&path), Err(FileError::Decode { .. })));
    }
}
