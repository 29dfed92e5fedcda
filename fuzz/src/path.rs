//! The one form of a path, against a reading by segments and a lenient backend.

use policies::client_traffic::EscapedSlashes;
use proxy::fuzzing::PATHS;

use crate::memory::bounded;

#[path = "../../proxy/tests/routing/path_oracle.rs"]
mod path_oracle;

/// How paths are read, and a path without its first slash.
pub fn run(data: &[u8]) {
    let Some((mode, rest)) = data.split_first() else { return };
    let Ok(rest) = std::str::from_utf8(rest) else { return };
    let path = format!("/{rest}");
    let mode = PATHS[usize::from(*mode) % PATHS.len()];
    let form = bounded(path.len(), 256, || proxy::fuzzing::path(&path, mode));
    assert_eq!(form, path_oracle::normal(&path, mode), "{path:?}");
    let Some(form) = form else { return };
    assert_eq!(proxy::fuzzing::path(&form, mode).as_ref(), Some(&form), "it has no form of its own");
    assert!(form.starts_with('/') && !form.contains('\\'), "{form:?}");
    assert!(!mode.1 || !form.contains("//"), "{form:?}");
    if mode.0 == EscapedSlashes::KeepUnchanged {
        return;
    }
    // What the backend makes of it has the names that policies saw, and no others.
    let names: Option<Vec<_>> =
        form.split('/').filter(|name| !name.is_empty()).map(path_oracle::lenient).collect();
    assert_eq!(path_oracle::lenient(&form), names.map(|names| names.concat()), "{form:?}");
}
