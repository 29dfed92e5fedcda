//! Manifests from files, as `kubectl apply` takes them, and as strictly as an API server.
//!
//! text → `split` documents → `yaml` a tree with places → `schema` checked and completed with defaults → `decode`
//! typed objects. [`Loader`] keeps a directory and costs what changed.

mod decode;
mod finding;
mod loader;
mod node;
mod object;
pub mod roots;
mod scalar;
mod schema;
mod split;
mod stand_in;
mod version;
mod yaml;

#[cfg(test)]
mod tests;

pub use finding::{Code, Finding};
pub use loader::Loader;

use std::path::PathBuf;
use std::sync::Arc;

use crate::{Object, ObjectKey};

/// On a Secret without data: standalone makes a certificate of its own for it.
pub const SELF_SIGNED: &str = schema::core::SELF_SIGNED;

/// An object that others read: it is in the files, and it is no mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ignored {
    /// `Kind namespace/name`.
    pub object: String,
    /// Line, from 1.
    pub line: u32,
}

/// The objects of one file's text; `None` when it does not load.
pub(crate) fn read(text: &str) -> Option<Vec<Object>> {
    let version = version::parse(text.to_owned(), &version::Version::default(), &Arc::new(PathBuf::new()));
    Some(version.ok()?.objects().map(|(_, object, _)| object.clone()).collect())
}

/// What a reload made of the files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reload {
    /// What differs now, by object.
    pub changes: Vec<Change>,
    /// What is wrong with the files that were read again.
    pub findings: Vec<Finding>,
}

/// One object that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// How.
    pub kind: ChangeKind,
    /// Which.
    pub object: ObjectKey,
}

/// How an object differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It says something else.
    Changed,
    /// It is gone.
    Removed,
}
