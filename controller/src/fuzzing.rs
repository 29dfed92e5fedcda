//! Narrow ways to what is private, for the fuzz targets (`fuzz/`). Not an interface: it changes with what is behind it.

use crate::{Object, manifests};

/// The objects of a manifest, as the loader reads a file; `None` when it refuses it.
#[must_use]
pub fn objects(text: &str) -> Option<Vec<Object>> {
    manifests::read(text)
}
