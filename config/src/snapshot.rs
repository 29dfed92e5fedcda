//! What a proxy serves, on disk: it starts from there when the controller is away.
//!
//! ```text
//! FAIRWAY-SNAPSHOT 1                                    schema version
//! {"gateway":"gateway/shop/edge","generation":"0.7"}    whose, and how new
//! {"key":"Backend/shop/cart:80","version":"…","resource":{…}}
//! …                                                     one line per resource, in key order
//! sha256:…                                              of every byte before this line
//! ```
//!
//! A file is used whole or not at all: what was cut off, changed by a byte, made for another Gateway or by another schema
//! is refused with the reason. Writing goes to a temporary file that takes the old one's place once it is on disk, so
//! there is always a whole one. Files are readable by their owner only.

mod checked;

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::checked::Checked;
use crate::identity::GatewayRef;
use crate::{Generation, Key, Resource};

const MAGIC: &str = "FAIRWAY-SNAPSHOT ";
/// Raised when a file of before cannot be read any more.
const SCHEMA: u32 = 1;

/// What a proxy serves.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// How new it is.
    pub generation: Generation,
    /// In key order.
    pub records: Vec<Record>,
}

/// A resource with its version.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Which.
    pub key: Key,
    /// As the controller named it.
    pub version: Box<str>,
    /// The resource.
    pub resource: Arc<Resource>,
}

#[derive(Serialize)]
struct Line<'a> {
    key: &'a Key,
    version: &'a str,
    resource: &'a Resource,
}

#[derive(Serialize, Deserialize)]
struct Header {
    gateway: String,
    generation: Generation,
}

/// Why a snapshot is not used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// There is none; so it is at the first start.
    #[error("{0}: there is no snapshot yet")]
    Missing(PathBuf),
    /// It cannot be read.
    #[error("{path}: the snapshot cannot be read: {source}")]
    Read {
        /// Of the file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It is no snapshot, was cut off or changed.
    #[error("{path}: the snapshot is damaged: {why}")]
    Damaged {
        /// Of the file.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// Another version of Fairway wrote it.
    #[error("{path}: the snapshot has schema {found}, this version reads {SCHEMA}")]
    Schema {
        /// Of the file.
        path: PathBuf,
        /// What it says.
        found: String,
    },
    /// It is another Gateway's.
    #[error("{path}: the snapshot is that of {found}")]
    Gateway {
        /// Of the file.
        path: PathBuf,
        /// Whose it is.
        found: String,
    },
}

/// Writes a snapshot; returns how many resources were left out because they hold private keys and `with_keys` is false.
/// Blocks until it is on disk.
///
/// # Errors
/// Those of the system. The file of before is then still there.
pub fn write(path: &Path, gateway: &GatewayRef, snapshot: &Snapshot, with_keys: bool) -> io::Result<usize> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let temporary = directory.join(format!(".{}.new", name.to_string_lossy()));
    // Left by a process that was killed.
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let written = fill(file, gateway, snapshot, with_keys).and_then(|left_out| {
        std::fs::rename(&temporary, path)?;
        // The rename itself is on disk once the directory is.
        File::open(directory)?.sync_all()?;
        Ok(left_out)
    });
    if written.is_err() {
        // The first error counts; what is left is removed by the next write.
        _ = std::fs::remove_file(&temporary);
    }
    written
}

fn fill(file: File, gateway: &GatewayRef, snapshot: &Snapshot, with_keys: bool) -> io::Result<usize> {
    let mut out = Checked::new(BufWriter::with_capacity(1 << 16, file));
    writeln!(out, "{MAGIC}{SCHEMA}")?;
    let header = Header { gateway: gateway.to_string(), generation: snapshot.generation };
    line(&mut out, &header)?;
    let mut left_out = 0;
    for Record { key, version, resource } in &snapshot.records {
        if !with_keys && holds_secret(resource) {
            left_out += 1;
            continue;
        }
        line(&mut out, &Line { key, version, resource })?;
    }
    let (mut out, digest) = out.finish();
    writeln!(out, "{digest}")?;
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok(left_out)
}

/// Bytes with the checksum that makes them a whole file.
pub(crate) fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut out = Checked::new(Vec::new());
    // Writing to a Vec cannot fail.
    _ = out.write_all(bytes);
    let (mut out, digest) = out.finish();
    _ = writeln!(out, "{digest}");
    out
}

fn line(out: &mut impl Write, content: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, content)?;
    out.write_all(b"\n")
}

fn holds_secret(resource: &Resource) -> bool {
    // Whatever has something to hide has a secret.
    resource.redacted() != *resource
}

/// Reads a snapshot of a Gateway's proxy. A resource that this version of Fairway cannot read is left out, and logged: its
/// version is then not told to the controller, which sends it again.
///
/// # Errors
/// When there is none or it is not to be used.
pub fn read(path: &Path, gateway: &GatewayRef) -> Result<Snapshot, SnapshotError> {
    let read = |source: io::Error| {
        if source.kind() == io::ErrorKind::NotFound {
            return SnapshotError::Missing(path.to_owned());
        }
        SnapshotError::Read { path: path.to_owned(), source }
    };
    let damaged = |why| SnapshotError::Damaged { path: path.to_owned(), why };
    let mut file = File::open(path).map_err(read)?;
    let first = checked::first_line(&mut file).map_err(read)?;
    let schema = first.strip_prefix(MAGIC.as_bytes()).ok_or_else(|| damaged("it does not begin as one"))?;
    if schema != SCHEMA.to_string().as_bytes() {
        let found = String::from_utf8_lossy(schema).into_owned();
        return Err(SnapshotError::Schema { path: path.to_owned(), found });
    }
    // Twice through the file instead of once through as much memory.
    let length = checked::verify(&mut file).map_err(read)?.map_err(damaged)?;
    let mut lines = BufReader::with_capacity(1 << 16, io::Read::take(file, length));
    let mut text = Vec::new();
    let mut next = |text: &mut Vec<u8>| {
        text.clear();
        lines.read_until(b'\n', text).map(|length| length > 0)
    };
    next(&mut text).map_err(read)?;
    next(&mut text).map_err(read)?;
    let header: Header = serde_json::from_slice(&text).map_err(|_| damaged("its header cannot be read"))?;
    if header.gateway != gateway.to_string() {
        return Err(SnapshotError::Gateway { path: path.to_owned(), found: header.gateway });
    }
    let mut records = Vec::new();
    while next(&mut text).map_err(read)? {
        match serde_json::from_slice::<Record>(&text) {
            Ok(record) if record.key.kind == record.resource.kind() => records.push(record),
            Ok(record) => {
                tracing::warn!(key = %record.key, "left out of the snapshot: it holds another kind")
            }
            Err(error) => tracing::warn!(%error, "a resource of the snapshot is left out: it cannot be read"),
        }
    }
    Ok(Snapshot { generation: header.generation, records })
}

#[cfg(test)]
mod tests;
