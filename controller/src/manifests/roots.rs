//! Directories and files that users name, and the files they stand for.

use std::fs;
use std::path::{Path, PathBuf};

/// The directories in which files of these appear and change.
#[must_use]
pub fn directories(roots: &[PathBuf]) -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> = roots
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

/// The `.yaml`, `.yml` and `.json` files of directories, as `kubectl apply -f` reads them: not those of sub-directories; and what
/// is no directory as it is.
#[must_use]
pub fn files(roots: &[PathBuf]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for root in roots {
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

pub(super) fn is_manifest(path: &Path) -> bool {
    let is_hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    !is_hidden && matches!(extension, "yaml" | "yml" | "json")
}
