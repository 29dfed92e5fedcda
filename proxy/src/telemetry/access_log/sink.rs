//! Where the access log's bytes end up.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use crate::telemetry::settings::{AccessLog, Error};

/// How often to look whether the file was moved away.
const LOOK: Duration = Duration::from_secs(1);

/// An open destination.
#[derive(Debug)]
pub(super) struct Sink {
    to: To,
    is_failing: bool,
}

#[derive(Debug)]
enum To {
    Stdout,
    File { path: PathBuf, file: File, looked: Instant },
}

impl Sink {
    /// Opens what the settings name; `None` when that is nothing.
    pub(super) fn open(settings: &AccessLog) -> Result<Option<Self>, Error> {
        let to = match settings {
            AccessLog::Off => return Ok(None),
            AccessLog::Stdout => To::Stdout,
            AccessLog::File(path) => {
                let file = append(path).map_err(|source| Error::AccessLog { path: path.clone(), source })?;
                To::File { path: path.clone(), file, looked: Instant::now() }
            }
        };
        Ok(Some(Self { to, is_failing: false }))
    }

    /// Writes whole lines and says how many were lost.
    pub(super) fn write(&mut self, lines: &[u8]) -> u64 {
        match self.to.write(lines) {
            Ok(()) => {
                self.is_failing = false;
                0
            }
            Err(error) => {
                // Said once, not for every buffer: the log of the proxy must not fill as well.
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(%error, "access log lines are lost");
                }
                lines.iter().filter(|byte| **byte == b'\n').count().try_into().unwrap_or(u64::MAX)
            }
        }
    }
}

impl To {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                // Locked for the whole write, so that two roles of one process do not mix their lines.
                let mut stdout = io::stdout().lock();
                stdout.write_all(lines)?;
                stdout.flush()
            }
            Self::File { path, file, looked } => {
                if looked.elapsed() >= LOOK {
                    *looked = Instant::now();
                    if is_moved(path, file) {
                        *file = append(path)?;
                    }
                }
                file.write_all(lines)
            }
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// True when `path` does not name the open file any more: logrotate moved it.
#[cfg(unix)]
fn is_moved(path: &Path, file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    let Ok(open) = file.metadata() else { return true };
    std::fs::metadata(path).map_or(true, |named| (named.dev(), named.ino()) != (open.dev(), open.ino()))
}

#[cfg(not(unix))]
fn is_moved(_path: &Path, _file: &File) -> bool {
    false
}
