//! One form for each path: what policies decide on is what the backend gets.
//!
//! In the order of Istio: escaped slashes, then the dot segments of RFC 3986 section 5.2.4 and escapes of what needs none
//! (section 2.3), with `\` as `/`; then runs of slashes become one. Nothing is decoded twice: `%2561` stays.

use std::borrow::Cow;

use policies::client_traffic::EscapedSlashes;

/// How paths are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PathRules {
    pub(crate) escaped_slashes: EscapedSlashes,
    pub(crate) merge_slashes: bool,
}

impl PathRules {
    /// Of a listener that says nothing.
    pub(crate) const DEFAULT: Self =
        Self { escaped_slashes: EscapedSlashes::RejectRequest, merge_slashes: true };
}

/// No path: a bad escape, `%00`, overlong UTF-8, a slash that is escaped, or a way above the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadPath;

/// The normal form of a path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Normal<'a> {
    /// Borrowed when it has it already.
    pub(crate) path: Cow<'a, str>,
    /// A slash of it was escaped before.
    pub(crate) was_unescaped: bool,
}

/// The normal form of a path that begins with a slash.
///
/// # Errors
/// See [`BadPath`].
pub(crate) fn normal<'a>(path: &'a str, rules: &PathRules) -> Result<Normal<'a>, BadPath> {
    let unchanged = Normal { path: Cow::Borrowed(path), was_unescaped: false };
    if is_plain(path.as_bytes()) {
        return Ok(unchanged);
    }
    let (decoded, was_unescaped) = decode(path.as_bytes(), rules)?;
    let mut out = resolve(&decoded)?;
    if rules.merge_slashes {
        out.dedup_by(|next, before| *next == b'/' && *before == b'/');
    }
    if out == path.as_bytes() {
        return Ok(unchanged);
    }
    let path = String::from_utf8(out).map_err(|_| BadPath)?;
    Ok(Normal { path: Cow::Owned(path), was_unescaped })
}

/// True when nothing in it can need work: most paths end here.
fn is_plain(path: &[u8]) -> bool {
    let mut before = 0;
    path.iter().all(|&byte| {
        let plain = !(matches!(byte, b'%' | b'\\') || before == b'/' && matches!(byte, b'/' | b'.'));
        before = byte;
        plain
    })
}

/// Escapes that need none are decoded, those that may stay do, in the case they were written in. `true`: a slash was among
/// those that were decoded.
fn decode(path: &[u8], rules: &PathRules) -> Result<(Vec<u8>, bool), BadPath> {
    use EscapedSlashes::{RejectRequest, UnescapeAndForward, UnescapeAndRedirect};
    let mut was_unescaped = false;
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    // The escaped byte right before this place.
    let mut before = 0;
    while let Some((&first, after)) = rest.split_first() {
        if first != b'%' {
            out.push(if first == b'\\' { b'/' } else { first });
            (rest, before) = (after, 0);
            continue;
        }
        let (escape, after) = rest.split_at_checked(3).ok_or(BadPath)?;
        let byte = escaped(escape).ok_or(BadPath)?;
        if byte == 0 || is_overlong(before, byte) {
            return Err(BadPath);
        }
        match (byte, rules.escaped_slashes) {
            (b'/' | b'\\', RejectRequest) => return Err(BadPath),
            (b'/' | b'\\', UnescapeAndForward | UnescapeAndRedirect) => {
                out.push(b'/');
                was_unescaped = true;
            }
            (b'-' | b'.' | b'_' | b'~', _) => out.push(byte),
            _ if byte.is_ascii_alphanumeric() => out.push(byte),
            _ => out.extend_from_slice(escape),
        }
        (rest, before) = (after, byte);
    }
    Ok((out, was_unescaped))
}

fn escaped(escape: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*escape.get(at)?).to_digit(16);
    u8::try_from(digit(1)? << 4 | digit(2)?).ok()
}

/// RFC 3629 section 3: two escaped bytes that begin a longer form of a character than it needs. A lenient decoder reads
/// `%c0%ae` as a dot. Text in other encodings than UTF-8 is left alone.
const fn is_overlong(before: u8, byte: u8) -> bool {
    match before {
        0xc0 | 0xc1 => matches!(byte, 0x80..=0xbf),
        0xe0 => matches!(byte, 0x80..=0x9f),
        0xf0 => matches!(byte, 0x80..=0x8f),
        _ => false,
    }
}

/// RFC 3986 section 5.2.4, save that a way above the root is refused, as Envoy does.
fn resolve(path: &[u8]) -> Result<Vec<u8>, BadPath> {
    let mut out = Vec::with_capacity(path.len());
    let mut segments = path.split(|&byte| byte == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            b"." | b".." => {
                if segment == b".." {
                    let parent = out.iter().rposition(|&byte| byte == b'/').ok_or(BadPath)?;
                    out.truncate(parent);
                }
                if is_last {
                    out.push(b'/');
                }
            }
            segment => {
                out.push(b'/');
                out.extend_from_slice(segment);
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DECODE: PathRules =
        PathRules { escaped_slashes: EscapedSlashes::UnescapeAndForward, merge_slashes: true };
    const KEEP: PathRules =
        PathRules { escaped_slashes: EscapedSlashes::KeepUnchanged, merge_slashes: false };

    fn by(rules: &PathRules, path: &str) -> String {
        normal(path, rules).map_or_else(|BadPath| "400".to_owned(), |normal| normal.path.into_owned())
    }

    #[test]
    fn paths_have_one_form() {
        for (path, default, decoded) in [
            ("/", "/", "/"),
            ("/a/b", "/a/b", "/a/b"),
            ("/pub/../admin", "/admin", "/admin"),
            ("/pub/%2e%2e/admin", "/admin", "/admin"),
            ("/%2E%2e/", "400", "400"),
            ("//admin", "/admin", "/admin"),
            ("/./admin", "/admin", "/admin"),
            ("/admin/.", "/admin/", "/admin/"),
            ("/a/b/..", "/a/", "/a/"),
            ("/pub%2f..%2fadmin", "400", "/admin"),
            ("/pub%2F%2Fadmin", "400", "/pub/admin"),
            ("/pub\\..\\admin", "/admin", "/admin"),
            ("/pub%5c..%5cadmin", "400", "/admin"),
            ("/%61dmin", "/admin", "/admin"),
            ("/%2561dmin", "/%2561dmin", "/%2561dmin"),
            ("/admin;x=1/y", "/admin;x=1/y", "/admin;x=1/y"),
            ("/adm%00in", "400", "400"),
            ("/%zz", "400", "400"),
            ("/%", "400", "400"),
            ("/%4", "400", "400"),
            ("/%c0%ae", "400", "400"),
            ("/%e0%80%af", "400", "400"),
            ("/%c0x%ae", "/%c0x%ae", "/%c0x%ae"),
            ("/caf%C3%a9", "/caf%C3%a9", "/caf%C3%a9"),
            ("/..", "400", "400"),
            ("/a/../../b", "400", "400"),
            ("/a//../b", "/a/b", "/a/b"),
            ("/...", "/...", "/..."),
            ("/.well-known/x", "/.well-known/x", "/.well-known/x"),
            ("/admin%20", "/admin%20", "/admin%20"),
        ] {
            assert_eq!(by(&PathRules::DEFAULT, path), default, "{path}");
            assert_eq!(by(&DECODE, path), decoded, "{path} decoded");
        }
        assert_eq!(by(&KEEP, "/a%2F..%2fb//c"), "/a%2F..%2fb//c");
    }

    #[test]
    fn a_path_in_its_form_is_not_copied() {
        for path in ["/a/b", "/.well-known/x", "/caf%C3%A9", "/a..b"] {
            assert!(matches!(normal(path, &PathRules::DEFAULT).unwrap().path, Cow::Borrowed(_)), "{path}");
        }
    }

    #[test]
    fn only_a_slash_that_was_escaped_is_told() {
        for (path, want) in
            [("/a%2Fb", true), ("/a%5cb/../c", true), ("/a%41", false), ("/a\\b", false), ("/a//b", false)]
        {
            assert_eq!(normal(path, &DECODE).unwrap().was_unescaped, want, "{path}");
        }
        assert!(!normal("/a%2Fb//", &KEEP).unwrap().was_unescaped);
    }

    fn hostile() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("/"),
            Just("//"),
            Just("."),
            Just(".."),
            Just("\\"),
            Just("%2f"),
            Just("%2F"),
            Just("%5c"),
            Just("%2e"),
            Just("%2E"),
            Just("%61"),
            Just("%25"),
            Just("%c0"),
            Just("%ae"),
            Just("%C3%A9"),
            Just("%00"),
            Just("%"),
            Just(";"),
            Just("a"),
            Just("admin"),
            Just("%20"),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
    }

    proptest! {
        #[test]
        fn the_form_is_stable_and_has_no_way_out(path in hostile()) {
            for rules in [PathRules::DEFAULT, DECODE] {
                let Ok(Normal { path: once, .. }) = normal(&path, &rules) else { continue };
                let same = Normal { path: Cow::Borrowed(&*once), was_unescaped: false };
                prop_assert_eq!(normal(&once, &rules), Ok(same), "{}", path);
                prop_assert!(once.starts_with('/') && !once.contains("//") && !once.contains('\\'));
                prop_assert!(!once.split('/').any(|segment| segment == "." || segment == ".."));
                let lower = once.to_ascii_lowercase();
                prop_assert!(!lower.contains("%00") && !lower.contains("%2e") && !lower.contains("%2f"));
            }
        }

        /// A backend that decodes once, reads `\` as `/` and resolves dots reaches the same place as we do.
        #[test]
        fn a_lenient_backend_reads_what_we_read(path in hostile()) {
            if let Ok(normal) = normal(&path, &DECODE) {
                let twice = |path: &str| resolve(&decode(path.as_bytes(), &DECODE)?.0).map(|mut path| {
                    path.dedup_by(|next, before| *next == b'/' && *before == b'/');
                    path
                });
                prop_assert_eq!(twice(&path).unwrap(), normal.path.as_bytes());
            }
        }
    }
}
