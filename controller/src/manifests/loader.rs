//! Manifests from directories and files, kept up to date at the cost of what changed.
//!
//! A file is cut into documents by text; a document whose text did not change keeps its typed objects, so an edit in a
//! file of 5,000 documents parses one. A file that does not load is refused as a whole and what it said last serves
//! on; other files are not touched.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::finding::{Code, Finding};
use super::object::{self, Parsed};
use super::split::split;
use super::{Change, ChangeKind, Ignored, Reload};
use crate::{Object, ObjectKey};

/// The largest file we read.
const MAX_FILE: u64 = 64 << 20;

/// A document of a file.
#[derive(Debug, Clone)]
struct Document {
    start: usize,
    end: usize,
    line: u32,
    parsed: Arc<Parsed>,
}

/// One state of a file that loads.
#[derive(Debug, Default)]
struct Version {
    text: Box<str>,
    documents: Vec<Document>,
}

impl Version {
    fn objects(&self) -> impl Iterator<Item = (&ObjectKey, &Object, u32)> {
        self.documents.iter().flat_map(|document| {
            let first = document.line;
            document.parsed.objects.iter().map(move |(key, object, line)| (key, object, first + line - 1))
        })
    }
}

#[derive(Debug)]
struct File {
    path: Arc<PathBuf>,
    /// What serves.
    served: Version,
    /// What would serve were it not for objects that another file has too; tried again with each change.
    waiting: Option<Version>,
    /// What is wrong with the file as it is now.
    findings: Vec<Finding>,
    is_gone: bool,
}

/// Manifests of some directories and files.
#[derive(Debug)]
pub struct Loader {
    roots: Vec<PathBuf>,
    files: BTreeMap<PathBuf, File>,
}

impl Loader {
    /// Loads directories (their `.yaml`, `.yml` and `.json` files, as `kubectl apply -f` does: not those of
    /// sub-directories) and files. What does not load is a finding; ask [`Self::findings`].
    ///
    /// # Errors
    /// A root that is not there or cannot be read.
    pub fn open(roots: &[PathBuf]) -> Result<Self, Finding> {
        for root in roots {
            let readable =
                if root.is_dir() { fs::read_dir(root).map(drop) } else { fs::File::open(root).map(drop) };
            readable.map_err(|e| unreadable(&Arc::new(root.clone()), &e))?;
        }
        let mut loader = Self { roots: roots.to_vec(), files: BTreeMap::new() };
        loader.reload(&[]);
        Ok(loader)
    }

    /// The directories in which files of this loader appear and change.
    #[must_use]
    pub fn directories(&self) -> Vec<PathBuf> {
        let mut directories: Vec<PathBuf> = self
            .roots
            .iter()
            .map(|root| match root.parent() {
                _ if root.is_dir() => root.clone(),
                Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
                _ => PathBuf::from("."),
            })
            .collect();
        directories.sort();
        directories.dedup();
        directories
    }

    /// Every object that serves.
    #[must_use]
    pub fn objects(&self) -> Vec<Object> {
        self.files
            .values()
            .flat_map(|file| file.served.objects())
            .map(|(_, object, _)| object.clone())
            .collect()
    }

    /// What is wrong with the files as they are now, by place.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        self.files.values().flat_map(|file| &file.findings).cloned().collect()
    }

    /// Objects that others read, with file and line.
    #[must_use]
    pub fn ignored(&self) -> Vec<(PathBuf, Ignored)> {
        let mut ignored = Vec::new();
        for file in self.files.values() {
            for document in &file.served.documents {
                ignored.extend(document.parsed.ignored.iter().map(|one| {
                    let line = document.line + one.line - 1;
                    (file.path.to_path_buf(), Ignored { object: one.object.clone(), line })
                }));
            }
        }
        ignored
    }

    /// The file and line of each object that serves.
    #[must_use]
    pub fn places(&self) -> FxHashMap<ObjectKey, (Arc<PathBuf>, u32)> {
        self.files
            .values()
            .flat_map(|file| {
                file.served.objects().map(|(key, _, line)| (key.clone(), (file.path.clone(), line)))
            })
            .collect()
    }

    /// Reads `changed` again, or everything when it is empty. Paths that are none of ours are passed over.
    pub fn reload(&mut self, changed: &[PathBuf]) -> Reload {
        let paths: FxHashSet<PathBuf> = if changed.is_empty() {
            self.list().into_iter().chain(self.files.keys().cloned()).collect()
        } else {
            changed.iter().filter_map(|path| self.ours(path)).map(Path::to_path_buf).collect()
        };
        let mut touched: Vec<PathBuf> = paths.into_iter().collect();
        touched.sort();
        for path in &touched {
            self.read(path);
        }
        self.settle_duplicates();
        let changes = self.commit();
        let findings =
            touched.iter().filter_map(|path| self.files.get(path)).flat_map(|f| f.findings.clone());
        let reload = Reload { changes, findings: findings.collect() };
        self.files.retain(|_, file| !file.is_gone || file.waiting.is_some());
        reload
    }

    /// The path by which a file is known here; a file `a.yaml` is seen to change as `./a.yaml`.
    fn ours<'p>(&self, path: &'p Path) -> Option<&'p Path> {
        let is_ours = |path: &Path| {
            self.files.contains_key(path)
                || self
                    .roots
                    .iter()
                    .any(|root| root == path || (path.parent() == Some(root) && is_manifest(path)))
        };
        [path, path.strip_prefix(".").unwrap_or(path)].into_iter().find(|path| is_ours(path))
    }

    fn list(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for root in &self.roots {
            match fs::read_dir(root) {
                Ok(entries) => {
                    let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
                    files.extend(paths.filter(|path| is_manifest(path) && path.is_file()));
                }
                Err(_) => files.push(root.clone()),
            }
        }
        files
    }

    /// Reads one file: what it says now waits in `waiting` or is in `findings`.
    fn read(&mut self, path: &Path) {
        let file = self.files.entry(path.to_path_buf()).or_insert_with(|| File {
            path: Arc::new(path.to_path_buf()),
            served: Version::default(),
            waiting: None,
            findings: Vec::new(),
            is_gone: false,
        });
        file.findings.clear();
        file.waiting = None;
        file.is_gone = false;
        match read_text(&file.path) {
            Ok(None) => {
                file.is_gone = true;
                file.waiting = Some(Version::default());
            }
            Ok(Some(text)) if *text == *file.served.text => {}
            Ok(Some(text)) => match parse(text, &file.served, &file.path) {
                Ok(version) => file.waiting = Some(version),
                Err(findings) => file.findings = findings,
            },
            Err(finding) => file.findings = vec![finding],
        }
    }

    /// Holds back files that bring an object that is there already. The one who has it serves on; of two newcomers the
    /// first by path wins.
    fn settle_duplicates(&mut self) {
        let mut held: FxHashSet<PathBuf> = FxHashSet::default();
        for file in self.files.values_mut().filter(|file| file.waiting.is_some()) {
            file.findings.clear();
        }
        if !self.brings_keys() {
            return;
        }
        // Each round holds one more file back, so this ends.
        while let Some((path, finding)) = self.duplicate(&held) {
            if let Some(file) = self.files.get_mut(&path) {
                file.findings.push(finding);
            }
            if !held.insert(path) {
                break;
            }
        }
    }

    /// Whether any waiting file has a key that it does not serve: else nothing can be there twice.
    fn brings_keys(&self) -> bool {
        self.files.values().any(|file| {
            let Some(waiting) = &file.waiting else { return false };
            let old: FxHashSet<*const Parsed> = pointers(&file.served);
            let new: FxHashSet<*const Parsed> = pointers(waiting);
            let mut keys: FxHashSet<&ObjectKey> = fresh(&file.served, &new).map(|(key, _)| key).collect();
            // A key used up is a key there twice.
            waiting.documents.len() != new.len() || fresh(waiting, &old).any(|(key, _)| !keys.remove(key))
        })
    }

    /// The first object that is in two places, and the file that has to give way.
    fn duplicate(&self, held: &FxHashSet<PathBuf>) -> Option<(PathBuf, Finding)> {
        let mut seen: FxHashMap<&ObjectKey, (&File, u32)> = FxHashMap::default();
        for file in self.files.values() {
            let is_waiting = file.waiting.is_some() && !held.contains(&*file.path);
            let version = file.waiting.as_ref().filter(|_| is_waiting).unwrap_or(&file.served);
            for (key, _, line) in version.objects() {
                let Some((first, first_line)) = seen.insert(key, (file, line)) else { continue };
                let serves = |file: &File| file.served.objects().any(|(k, _, _)| k == key);
                // The later one gives way, unless it is the one that serves the object.
                let later_stays =
                    !std::ptr::eq(first, file) && (!is_waiting || (serves(file) && !serves(first)));
                let (loser, line, other, other_line) = if later_stays {
                    (first, first_line, file, line)
                } else {
                    (file, line, first, first_line)
                };
                return Some((
                    loser.path.to_path_buf(),
                    Finding {
                        file: loser.path.clone(),
                        line,
                        column: 1,
                        code: Code::DuplicateObject,
                        object: key.to_string(),
                        field: String::new(),
                        reason: format!("is in {}:{other_line} too", other.path.display()),
                        remedy: "keep one of them".into(),
                    },
                ));
            }
        }
        None
    }

    /// Lets every waiting file without findings serve, and says what that changes.
    fn commit(&mut self) -> Vec<Change> {
        let mut old: BTreeMap<ObjectKey, Object> = BTreeMap::new();
        let mut new: BTreeMap<ObjectKey, Object> = BTreeMap::new();
        for file in self.files.values_mut().filter(|file| file.findings.is_empty()) {
            let Some(waiting) = file.waiting.take() else { continue };
            let copy = |(key, object): (&ObjectKey, &Object)| (key.clone(), object.clone());
            old.extend(fresh(&file.served, &pointers(&waiting)).map(copy));
            new.extend(fresh(&waiting, &pointers(&file.served)).map(copy));
            file.served = waiting;
        }
        let mut changes: Vec<Change> = Vec::new();
        for (key, object) in &new {
            let kind = match old.remove(key) {
                None => ChangeKind::Added,
                Some(before) if same(&before, object) => continue,
                Some(_) => ChangeKind::Changed,
            };
            changes.push(Change { kind, object: key.clone() });
        }
        changes.extend(old.into_keys().map(|object| Change { kind: ChangeKind::Removed, object }));
        changes.sort_by(|a, b| a.object.cmp(&b.object));
        changes
    }
}

fn pointers(version: &Version) -> FxHashSet<*const Parsed> {
    version.documents.iter().map(|document| Arc::as_ptr(&document.parsed)).collect()
}

/// Objects of documents that are not among `known`.
fn fresh<'v>(
    version: &'v Version,
    known: &FxHashSet<*const Parsed>,
) -> impl Iterator<Item = (&'v ObjectKey, &'v Object)> {
    let documents = version.documents.iter().filter(|d| !known.contains(&Arc::as_ptr(&d.parsed)));
    documents.flat_map(|document| document.parsed.objects.iter().map(|(key, object, _)| (key, object)))
}

/// Whether a rewritten document says what it said: comments and order of keys do not count.
fn same(a: &Object, b: &Object) -> bool {
    macro_rules! same {
        ($( $kind:ident )*) => { match (a, b) {
            $( (Object::$kind(a), Object::$kind(b)) => a == b, )*
            _ => false,
        } };
    }
    same!(GatewayClass Gateway HttpRoute GrpcRoute ReferenceGrant BackendTlsPolicy Service EndpointSlice Secret
        ConfigMap Namespace)
}

fn is_manifest(path: &Path) -> bool {
    let is_hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    !is_hidden && matches!(extension, "yaml" | "yml" | "json")
}

fn unreadable(path: &Arc<PathBuf>, error: &io::Error) -> Finding {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => "name a directory or file that is there",
        io::ErrorKind::PermissionDenied => "allow this user to read it",
        _ => "make it readable",
    };
    whole_file(path, Code::Unreadable, format!("cannot be read: {error}"), remedy)
}

fn whole_file(path: &Arc<PathBuf>, code: Code, reason: String, remedy: &str) -> Finding {
    let (object, field) = (String::new(), String::new());
    Finding { file: path.clone(), line: 0, column: 0, code, object, field, reason, remedy: remedy.into() }
}

/// The text of a file; `None` when it is gone.
fn read_text(path: &Arc<PathBuf>) -> Result<Option<String>, Finding> {
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
fn parse(text: String, before: &Version, path: &Arc<PathBuf>) -> Result<Version, Vec<Finding>> {
    let pieces = split(&text);
    let old = &before.documents;
    let old_text = |d: &Document| before.text.get(d.start..d.end);
    let is_same = |piece: &super::split::Piece, d: &Document| text.get(piece.start..piece.end) == old_text(d);
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
    let middle: FxHashMap<&str, &Document> = old
        .get(head..old.len() - tail)
        .unwrap_or_default()
        .iter()
        .filter_map(|d| old_text(d).map(|text| (text, d)))
        .collect();
    let mut documents = Vec::with_capacity(pieces.len());
    let mut findings = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        let source = text.get(piece.start..piece.end).unwrap_or_default();
        let known = if index < head {
            old.get(index)
        } else if index >= pieces.len() - tail {
            old.get(old.len() + index - pieces.len())
        } else {
            middle.get(source).copied()
        };
        let parsed = match known {
            Some(document) => document.parsed.clone(),
            None => match object::parse(source) {
                Ok(parsed) => Arc::new(parsed),
                Err(problems) => {
                    findings.extend(problems.iter().map(|problem| problem.at(path, piece.line)));
                    continue;
                }
            },
        };
        documents.push(Document { start: piece.start, end: piece.end, line: piece.line, parsed });
    }
    if findings.is_empty() { Ok(Version { text: text.into(), documents }) } else { Err(findings) }
}
