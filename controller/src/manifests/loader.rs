//! Manifests from directories and files, kept up to date at the cost of what changed.
//!
//! A file is cut into documents by text; a document whose text did not change keeps its typed objects, so an edit in a
//! file of 5,000 documents parses one. A file that does not load is refused as a whole and what it said last serves
//! on; other files are not touched. One that has said nothing yet, on a fresh start, is [`stand_in`]'s.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::finding::{Code, Finding};
use super::roots::{self, is_manifest};
use super::version::{Version, nothing, objects, parse, read_text, unreadable};
use super::{Change, ChangeKind, Ignored, Reload, stand_in};
use crate::{Object, ObjectKey};

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
    unknowable: Vec<Finding>,
}

impl Loader {
    /// Loads directories (their `.yaml`, `.yml` and `.json` files, as `kubectl apply -f` does: not those of
    /// sub-directories) and files. What does not load is a finding; ask [`Self::findings`]. Where that is a policy that
    /// protects something, one that refuses stands in for it; where none can, ask [`Self::unknowable`].
    ///
    /// # Errors
    /// A root that is not there or cannot be read.
    pub fn open(roots: &[PathBuf]) -> Result<Self, Finding> {
        for root in roots {
            let readable =
                if root.is_dir() { fs::read_dir(root).map(drop) } else { fs::File::open(root).map(drop) };
            readable.map_err(|e| unreadable(&Arc::new(root.clone()), &e))?;
        }
        let mut loader = Self { roots: roots.to_vec(), files: BTreeMap::new(), unknowable: Vec::new() };
        loader.reload_all();
        loader.stand_in();
        Ok(loader)
    }

    fn stand_in(&mut self) {
        let mut served: FxHashSet<ObjectKey> = self.places().into_keys().collect();
        for file in self.files.values_mut().filter(|file| !file.findings.is_empty()) {
            let policies = match read_text(&file.path) {
                Ok(text) => stand_in::of(&text.unwrap_or_default()),
                Err(_) => Err(stand_in::Unknowable(0)),
            };
            match policies {
                Ok(policies) => file.served = policies.without(&mut served),
                Err(unknowable) => self.unknowable.push(unknowable.finding(&file.path)),
            }
        }
    }

    /// Files that did not load when they were opened, of which it cannot be told what they protect: what starts to serve
    /// without them may be open where it was to be closed.
    #[must_use]
    pub fn unknowable(&self) -> &[Finding] {
        &self.unknowable
    }

    /// The directories in which files of this loader appear and change.
    #[must_use]
    pub fn directories(&self) -> Vec<PathBuf> {
        roots::directories(&self.roots)
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

    /// Reads these files again. Paths that are none of ours are passed over.
    pub fn reload(&mut self, changed: &[PathBuf]) -> Reload {
        let ours = changed.iter().filter_map(|path| self.ours(path)).map(Path::to_path_buf).collect();
        self.read_all(ours)
    }

    /// Reads everything again.
    pub fn reload_all(&mut self) -> Reload {
        self.read_all(roots::files(&self.roots).into_iter().chain(self.files.keys().cloned()).collect())
    }

    fn read_all(&mut self, mut paths: Vec<PathBuf>) -> Reload {
        paths.sort();
        paths.dedup();
        for path in &paths {
            self.read(path);
        }
        self.settle_duplicates();
        let changes = self.commit();
        let findings = paths.iter().filter_map(|path| self.files.get(path)).flat_map(|f| f.findings.clone());
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
                file.waiting = Some(nothing(&file.served));
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
        self.files.values().filter_map(|file| file.waiting.as_ref()).any(|waiting| {
            let mut keys: FxHashSet<&ObjectKey> = objects(&waiting.gone).map(|(key, _)| key).collect();
            // A key used up is a key there twice.
            objects(&waiting.fresh).any(|(key, _)| !keys.remove(key))
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
            let Some(mut waiting) = file.waiting.take() else { continue };
            let copy = |(key, object): (&ObjectKey, &Object)| (key.clone(), object.clone());
            old.extend(objects(&std::mem::take(&mut waiting.gone)).map(copy));
            new.extend(objects(&std::mem::take(&mut waiting.fresh)).map(copy));
            file.served = waiting;
        }
        let mut changes: Vec<Change> = Vec::new();
        for (key, object) in &new {
            let kind = match old.remove(key) {
                None => ChangeKind::Added,
                Some(before) if before.same_content(object) => continue,
                Some(_) => ChangeKind::Changed,
            };
            changes.push(Change { kind, object: key.clone() });
        }
        changes.extend(old.into_keys().map(|object| Change { kind: ChangeKind::Removed, object }));
        changes.sort_by(|a, b| a.object.cmp(&b.object));
        changes
    }
}
