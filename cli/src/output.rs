//! Standard output and error. A closed pipe (`| head`) is no error: there is nobody left to tell.

use std::io::{self, Write as _};

/// One line, or several, to standard output.
pub(crate) fn line(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// One line, or several, to standard error.
pub(crate) fn error(text: &str) {
    let mut out = io::stderr().lock();
    let _ = writeln!(out, "{text}");
}
