//! Standard output and error. A closed pipe (`| head`) is no error: there is nobody left to tell.

use std::io::{self, IsTerminal as _, Write as _};

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

/// Whether standard output may be coloured: it is a terminal, and `NO_COLOR` is not set (no-color.org).
pub(crate) fn is_coloured() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
