//! Regular expressions for whole paths and values.
//!
//! The dialect is RE2's: no look-around, no back references, linear time, and `\d \w \s` are ASCII (write `(?u:…)`
//! for Unicode classes).

use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use regex_syntax::hir::{HirKind, Look};

/// Most bytes of a compiled pattern. A thousand plain characters take a fifth of it.
const COMPILED: usize = 256 * 1024;
/// Most bytes of what the engine learns of one pattern while it runs, per thread that runs it at the same time.
const LEARNED: usize = 128 * 1024;

/// A compiled pattern, shared by all that write the same.
#[derive(Debug)]
pub(crate) struct Pattern {
    regex: Regex,
    text: Box<str>,
}

impl Pattern {
    /// # Errors
    /// What is wrong with the pattern, for the user.
    pub(crate) fn compile(text: &str) -> Result<Self, String> {
        // By itself first: `a)(b` would be fine inside the group that anchors it.
        parse(text)
            .map_err(|e| format!("not a regular expression (RE2 syntax): {}", last_line(&e.to_string())))?;
        let regex = RegexBuilder::new(&anchored(text))
            .unicode(false)
            .size_limit(COMPILED)
            .dfa_size_limit(LEARNED)
            .build()
            .map_err(|e| {
                if let regex::Error::CompiledTooBig(limit) = e {
                    format!("the regular expression takes over {limit} bytes compiled: make it simpler")
                } else {
                    format!("not a regular expression (RE2 syntax): {}", last_line(&e.to_string()))
                }
            })?;
        Ok(Self { regex, text: text.into() })
    }

    /// True when the pattern matches all of `value`.
    pub(crate) fn is_match(&self, value: &[u8]) -> bool {
        self.regex.is_match(value)
    }

    /// Whole path segments that every path this pattern matches begins with, as `/a/b` or empty. Only a path that
    /// walks past them has to be tried.
    pub(crate) fn literal_prefix(&self) -> String {
        let Ok(hir) = parse(&self.text) else { return String::new() };
        let parts = if let HirKind::Concat(parts) = hir.kind() {
            parts.as_slice()
        } else {
            std::slice::from_ref(&hir)
        };
        let start = |part: &&regex_syntax::hir::Hir| matches!(part.kind(), HirKind::Look(Look::Start));
        match parts.iter().find(|part| !start(part)).map(|part| part.kind()) {
            Some(HirKind::Literal(literal)) => whole_segments(&literal.0),
            _ => String::new(),
        }
    }
}

/// `/a/b/c` → `/a/b`: what follows the last slash may go on.
fn whole_segments(literal: &[u8]) -> String {
    match std::str::from_utf8(literal) {
        Ok(text) if text.starts_with('/') => {
            text.rsplit_once('/').map_or_else(String::new, |(segments, _)| segments.to_owned())
        }
        _ => String::new(),
    }
}

fn parse(text: &str) -> Result<regex_syntax::hir::Hir, Box<regex_syntax::Error>> {
    regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build().parse(text).map_err(Box::new)
}

fn anchored(text: &str) -> String {
    format!(r"\A(?:{text})\z")
}

/// The parser draws its errors over several lines; the last says what is wrong.
fn last_line(message: &str) -> &str {
    message.lines().last().map_or(message, |line| line.trim().trim_start_matches("error: "))
}

/// One pass that tells whether any of several patterns matches; `None` when together they are too big.
pub(crate) fn set<'p>(patterns: impl Iterator<Item = &'p Pattern>) -> Option<RegexSet> {
    RegexSetBuilder::new(patterns.map(|pattern| anchored(&pattern.text)))
        .unicode(false)
        .size_limit(8 * COMPILED)
        .dfa_size_limit(4 * LEARNED)
        .build()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> String {
        Pattern::compile(text).unwrap().literal_prefix()
    }

    #[test]
    fn a_pattern_matches_the_whole_value_only() {
        let pattern = Pattern::compile("/a|/ab").unwrap();
        assert!(pattern.is_match(b"/a") && pattern.is_match(b"/ab"));
        assert!(!pattern.is_match(b"/abc") && !pattern.is_match(b"x/a"));
        assert!(!Pattern::compile("(?m)^a$").unwrap().is_match(b"a\nb"));
    }

    #[test]
    fn a_pattern_that_only_the_anchoring_group_would_complete_is_refused() {
        let error = Pattern::compile("a)(b").unwrap_err();
        assert!(error.contains("unopened group"), "{error}");
    }

    #[test]
    fn a_huge_pattern_is_refused_with_the_limit() {
        let error = Pattern::compile("(?:[a-z]{900}){900}").unwrap_err();
        assert!(error.contains("262144 bytes"), "{error}");
        assert!(Pattern::compile(&"a".repeat(1000)).is_ok());
    }

    #[test]
    fn the_literal_prefix_ends_with_the_last_whole_segment() {
        assert_eq!(prefix("/users/[0-9]+"), "/users");
        assert_eq!(prefix("^/a/b/c[0-9]*/x"), "/a/b");
        assert_eq!(prefix(r"/v1\.0/.*"), "/v1.0");
        assert_eq!(prefix("/plain"), "");
        assert_eq!(prefix("/a/b"), "/a");
        assert_eq!(prefix("[/]a/(b|c)"), "/a");
    }

    #[test]
    fn a_pattern_that_may_begin_otherwise_has_no_literal_prefix() {
        for text in ["/a/x|/b/y", ".*", "(?i)/a/b", "/a*/b", "/?a/b", "(/a/|/b/)c", "a/b/c"] {
            assert_eq!(prefix(text), "", "{text}");
        }
    }
}
