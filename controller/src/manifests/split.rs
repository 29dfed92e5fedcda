//! Cuts a file into documents without parsing it.
//!
//! YAML forbids `---` at the start of a line anywhere but between documents (1.2.2 §9.1.2, `c-forbidden`), even inside
//! quoted and block scalars, so a search for it is exact.

use memchr::memmem::Finder;

/// One document of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// First byte.
    pub(super) start: usize,
    /// One past the last byte.
    pub(super) end: usize,
    /// Line of its first byte, from 1.
    pub(super) line: u32,
}

/// The documents of a file, in order; empty ones and those with nothing but comments too.
pub(super) fn split(text: &str) -> Vec<Piece> {
    let bytes = text.as_bytes();
    let mut pieces = Vec::new();
    let (mut start, mut line) = (0, 1);
    let mut push = |start: usize, end: usize| {
        let piece = Piece { start, end, line };
        // Lines are counted once per byte, for places in findings.
        line += u32::try_from(memchr::memchr_iter(b'\n', bytes.get(start..end).unwrap_or_default()).count())
            .unwrap_or(u32::MAX / 2);
        pieces.push(piece);
    };
    for found in Finder::new(b"\n---").find_iter(bytes) {
        // A marker is followed by white space or the end; `----` and `---x` are text.
        if matches!(bytes.get(found + 4), None | Some(b' ' | b'\t' | b'\r' | b'\n')) {
            push(start, found + 1);
            start = found + 1;
        }
    }
    push(start, bytes.len());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Vec<(&str, u32)> {
        split(text).into_iter().map(|p| (&text[p.start..p.end], p.line)).collect()
    }

    #[test]
    fn documents_are_cut_at_markers_and_keep_their_lines() {
        assert_eq!(
            pieces("a: 1\n---\nb: 2\n--- # c\nc: 3"),
            [("a: 1\n", 1), ("---\nb: 2\n", 2), ("--- # c\nc: 3", 4)]
        );
    }

    #[test]
    fn dashes_that_are_no_marker_do_not_cut() {
        for text in ["a: |\n  ---\n  b\n", "----\n", "a:\n---b\n"] {
            assert_eq!(pieces(text).len(), 1, "{text:?}");
        }
    }

    #[test]
    fn an_empty_file_is_one_empty_document() {
        assert_eq!(pieces(""), [("", 1)]);
    }

    #[test]
    fn a_marker_at_the_end_of_the_file_cuts() {
        assert_eq!(pieces("a: 1\n---"), [("a: 1\n", 1), ("---", 2)]);
    }
}
