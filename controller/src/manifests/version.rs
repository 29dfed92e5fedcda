//! One state of a file: its text, cut into documents, each with its typed objects.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::finding::{Code, Finding};
use super::object::{self, Parsed};
use super::split::{Piece, split};
use crate::{Object, ObjectKey};

/// The largest file we read.
const MAX_FILE: u64 = 64 << 20;

/// A document of a file.
#[derive(Debug, Clone)]
pub(super) struct Document {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) line: u32,
    pub(super) parsed: Arc<Parsed>,
}

/// One state of a file that loads.
#[derive(Debug, Default)]
pub(super) struct Version {
    pub(super) text: Box<str>,
    pub(super) documents: Vec<Document>,
    /// What differs from the state before it: documents that were parsed anew, and those that are gone.
    pub(super) fresh: Vec<Arc<Parsed>>,
    pub(super) gone: Vec<Arc<Parsed>>,
}

impl Version {
    pub(super) fn objects(&self) -> impl Iterator<Item = (&ObjectKey, &Object, u32)> {
        self.documents.iter().flat_map(|document| {
            let first = document.line;
            document.parsed.objects.iter().map(move |(key, object, line)| (key, object, first + line - 1))
        })
    }

    /// Without the objects of these keys, which then are these, too.
    pub(super) fn without(mut self, keys: &mut FxHashSet<ObjectKey>) -> Self {
        for document in &mut self.documents {
            let objects = document.parsed.objects.iter();
            let objects = objects.filter(|(key, ..)| keys.insert(key.clone())).cloned().collect();
            document.parsed = Arc::new(Parsed { objects, ignored: Vec::new() });
        }
        self
    }
}

/// Every object of some documents.
pub(super) fn objects(documents: &[Arc<Parsed>]) -> impl Iterator<Item = (&ObjectKey, &Object)> {
    documents.iter().flat_map(|parsed| parsed.objects.iter().map(|(key, object, _)| (key, object)))
}

/// What is left of a file that is gone.
pub(super) fn nothing(before: &Version) -> Version {
    let gone = before.documents.iter().map(|document| document.parsed.clone()).collect();
    Version { gone, ..Version::default() }
}

/// A file or directory that cannot be read.
pub(super) fn unreadable(path: &Arc<PathBuf>, error: &io::Error) -> Finding {
    let remedy = if error.kind() == io::ErrorKind::NotFound {
        "name a directory or file that is there"
    } else {
        "allow this user to read it"
    };
    whole_file(path, Code::Unreadable, format!("cannot be read: {error}"), remedy)
}

fn whole_file(path: &Arc<PathBuf>, code: Code, reason: String, remedy: &str) -> Finding {
    let (object, field) = (String::new(), String::new());
    Finding { file: path.clone(), line: 0, column: 0, code, object, field, reason, remedy: remedy.into() }
}

/// The text of a file; `None` when it is gone.
pub(super) fn read_text(path: &Arc<PathBuf>) -> Result<Option<String>, Finding> {
    let bytes = match fs::metadata(path.as_path()) {
        Ok(metadata) if metadata.len() > MAX_FILE => {
            let reason = format!("is larger than {} MiB", MAX_FILE >> 20);
            return Err(whole_file(path, Code::TooLarge, reason, "split it into several files"));
        }
        // Not a pipe or a device: reading one could wait for ever.
        Ok(metadata) if !metadata.is_file() => {
            return Err(whole_file(
                path,
                Code::Unreadable,
                "is not a file".into(),
                "put manifests into files",
            ));
        }
        Ok(_) => fs::read(path.as_path()),
        Err(e) => Err(e),
    };
    match bytes {
        Ok(bytes) => String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| whole_file(path, Code::Syntax, "is not UTF-8".into(), "save it as UTF-8")),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(unreadable(path, &e)),
    }
}

/// Parses what differs from `before`.
pub(super) fn parse(text: String, before: &Version, path: &Arc<PathBuf>) -> Result<Version, Vec<Finding>> {
    let pieces = split(&text);
    let old = &before.documents;
    let old_text = |d: &Document| before.text.get(d.start..d.end);
    let is_same = |piece: &Piece, d: &Document| text.get(piece.start..piece.end) == old_text(d);
    // Nearly every edit leaves a common head and tail; what is between is found by its text.
    let head = pieces.iter().zip(old).take_while(|(piece, d)| is_same(piece, d)).count();
    let rest = pieces.len().min(old.len()) - head;
    let tail = pieces
        .iter()
        .rev()
        .zip(old.iter().rev())
        .take(rest)
        .take_while(|(piece, d)| is_same(piece, d))
        .count();
    let middle = old.get(head..old.len() - tail).unwrap_or_default();
    let mut by_text: FxHashMap<&str, Vec<&Document>> = FxHashMap::default();
    for document in middle {
        by_text.entry(old_text(document).unwrap_or_default()).or_default().push(document);
    }
    let mut version = Version { documents: Vec::with_capacity(pieces.len()), ..Version::default() };
    let mut findings = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        let source = text.get(piece.start..piece.end).unwrap_or_default();
        let known = if index < head {
            old.get(index)
        } else if index >= pieces.len() - tail {
            old.get(old.len() + index - pieces.len())
        } else {
            // Each is taken once: a copy of a document is a second object of one name, and has to be seen as such.
            by_text.get_mut(source).and_then(Vec::pop)
        };
        let parsed = match known {
            Some(document) => document.parsed.clone(),
            None => match object::parse(source) {
                Ok(parsed) => {
                    let parsed = Arc::new(parsed);
                    version.fresh.push(parsed.clone());
                    parsed
                }
                Err(problems) => {
                    findings.extend(problems.iter().map(|problem| problem.at(path, piece.line)));
                    continue;
                }
            },
        };
        version.documents.push(Document { start: piece.start, end: piece.end, line: piece.line, parsed });
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    version.gone = by_text.into_values().flatten().map(|document| document.parsed.clone()).collect();
    version.text = text.into();
    Ok(version)
}
