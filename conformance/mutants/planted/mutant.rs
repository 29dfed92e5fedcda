//! Which mutant is alive: the one whose number is in the environment (`MUTANT`).
//!
//! `MUTANT_TRACE` names a file that is told, once for each test, which mutants the test reaches.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs::File;
use std::io::Write as _;
use std::sync::LazyLock;

static ALIVE: LazyLock<u32> =
    LazyLock::new(|| std::env::var("MUTANT").ok().and_then(|id| id.parse().ok()).unwrap_or(0));

static TRACE: LazyLock<Option<File>> = LazyLock::new(|| {
    let path = std::env::var_os("MUTANT_TRACE")?;
    File::options().append(true).create(true).open(path).ok()
});

thread_local! {
    static SEEN: RefCell<HashSet<u32>> = RefCell::default();
}

#[must_use]
pub fn is(id: u32) -> bool {
    if let Some(file) = &*TRACE {
        trace(file, id);
    }
    *ALIVE == id
}

/// A test has a thread of its name; what threads have no name reach, any test may.
fn trace(mut file: &File, id: u32) {
    let is_new = SEEN.try_with(|seen| seen.borrow_mut().insert(id)).unwrap_or(true);
    if is_new {
        let thread = std::thread::current();
        let line = format!("{id}\t{}\n", thread.name().unwrap_or("?"));
        let _ = file.write_all(line.as_bytes());
    }
}
