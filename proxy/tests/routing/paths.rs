//! Paths that try to reach `/admin` past its route: an independent reading must agree with ours on every one, and no backend
//! may take what is forwarded for another path than the one that was decided on.

use fairway_proxy::fuzzing::{PATHS, path};
use policies::client_traffic::EscapedSlashes;

use self::path_oracle::{lenient, normal};
use super::support::{backend, compile, get, listener, parent, prefix, route, rule};

#[path = "path_oracle.rs"]
mod path_oracle;

/// A debug build takes fifty times as long.
const CASES: u32 = if cfg!(debug_assertions) { 20_000 } else { 1_000_000 };

const PIECES: [&str; 44] = [
    "/",
    "/",
    "/",
    "/",
    "//",
    "/./",
    "/../",
    "..",
    ".",
    "...",
    "\\",
    "%2f",
    "%2F",
    "%5c",
    "%5C",
    "%2e",
    "%2E",
    "%2e%2E",
    "%252e",
    "%252f",
    "%25",
    "%00",
    "%0",
    "%",
    "%zz",
    "%c0%ae",
    "%c0%af",
    "%e0%80%af",
    "%f0%80%80%af",
    "%C3%A9",
    "%61dmin",
    "%41",
    "%7e",
    "%20",
    "admin",
    "admin",
    "admin",
    "pub",
    "a",
    "Admin",
    ";",
    ";x=1",
    ":",
    "~",
];

/// SplitMix64: the same paths in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % end as u64).unwrap()
    }

    fn path(&mut self) -> String {
        (0..self.below(9)).fold(String::from("/"), |path, _| path + PIECES[self.below(PIECES.len())])
    }
}

#[test]
fn a_million_paths_are_read_as_an_independent_reader_reads_them() {
    let mut random = Random(9112);
    let mut refused = [0; PATHS.len()];
    for _ in 0..CASES {
        let sent = random.path();
        for (at, mode) in PATHS.into_iter().enumerate() {
            let form = path(&sent, mode);
            assert_eq!(form, normal(&sent, mode), "{sent} {mode:?}");
            let Some(form) = form else {
                refused[at] += 1;
                continue;
            };
            assert_eq!(path(&form, mode).as_ref(), Some(&form), "{sent} {mode:?}: not stable");
            if mode.0 != EscapedSlashes::KeepUnchanged {
                let names = form
                    .split('/')
                    .filter(|name| !name.is_empty())
                    .map(|name| lenient(name).unwrap().concat());
                assert_eq!(lenient(&form), Some(names.collect()), "{sent} {mode:?}: {form}");
            }
        }
    }
    // Neither all nor none, else nothing was tried.
    assert!(refused.iter().all(|count| (CASES / 10..CASES * 9 / 10).contains(count)), "{refused:?}");
}

#[test]
fn what_a_backend_takes_for_admin_was_decided_on_as_admin() {
    let of =
        |name: &str, at: &str| route(name, vec![parent("http", &["*"])], vec![rule(vec![prefix(at)], "a")]);
    let (snapshot, _) =
        compile([backend("a"), listener("http", 80, None), of("admin", "/admin"), of("all", "/")]);
    let decision = |form: &str| get(&snapshot, 80, "x", form).contains("ns/admin#0");
    let (mut random, mut reached) = (Random(3986), 0);
    for _ in 0..CASES {
        let sent = random.path();
        for mode in
            PATHS.into_iter().filter(|(slashes, merge)| *slashes != EscapedSlashes::KeepUnchanged && *merge)
        {
            let Some(form) = path(&sent, mode) else { continue };
            let decided = decision(&form);
            // The next proxy decides the same.
            assert_eq!(path(&form, mode).map(|again| decision(&again)), Some(decided), "{sent}: {form}");
            let is_admin = lenient(&form).unwrap().first().is_some_and(|name| name == b"admin");
            assert_eq!(decided, is_admin, "{sent}: {form}");
            reached += u32::from(is_admin);
        }
    }
    assert!(reached > CASES / 40, "{reached}");
}
