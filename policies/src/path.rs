//! How a redirect or a rewrite changes a path (HTTPPathModifier). A prefix is whole path elements, and the query is
//! never part of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Invalid;

/// A path as a redirect or rewrite changes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum PathModifier {
    /// The whole path is replaced; the query stays.
    ReplaceFullPath(String),
    /// The matched prefix is replaced; the rest stays.
    ReplacePrefixMatch(String),
}

/// A compiled [`PathModifier`]: starts with `/`, or is empty and then stands for `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PathEdit {
    Full(Box<str>),
    /// Without trailing slashes: "When specified, a trailing `/` is ignored."
    Prefix(Box<str>),
}

impl PathEdit {
    /// `field` is where the modifier stands in its policy.
    pub(crate) fn compile(modifier: &PathModifier, field: &str) -> Result<Self, Invalid> {
        match modifier {
            PathModifier::ReplaceFullPath(path) => {
                check(path, &format!("{field}.replaceFullPath"))?;
                Ok(Self::Full(rooted(path)))
            }
            PathModifier::ReplacePrefixMatch(prefix) => {
                check(prefix, &format!("{field}.replacePrefixMatch"))?;
                let prefix = prefix.trim_end_matches('/');
                Ok(Self::Prefix(if prefix.is_empty() { "".into() } else { rooted(prefix) }))
            }
        }
    }

    /// Bytes the changed path takes at most.
    pub(crate) fn max_len(&self, path: &str) -> usize {
        let (Self::Full(text) | Self::Prefix(text)) = self;
        text.len() + path.len() + 1
    }

    /// Appends the changed path to `out`; the length returned is that of the part that now stands for the matched
    /// prefix, so that a backend's filter can replace it again.
    ///
    /// `matched` is `Context::matched_prefix`. A value that does not fit `path` takes the whole path as prefix.
    pub(crate) fn write(&self, path: &str, matched: usize, out: &mut String) -> usize {
        let (Self::Full(replacement) | Self::Prefix(replacement)) = self;
        out.push_str(replacement);
        let rest = match self {
            Self::Full(_) => "",
            Self::Prefix(_) => path.get(matched..).unwrap_or_default(),
        };
        if !rest.starts_with('/') && (!rest.is_empty() || replacement.is_empty()) {
            out.push('/');
        }
        out.push_str(rest);
        replacement.len()
    }
}

fn rooted(path: &str) -> Box<str> {
    if path.starts_with('/') { path.into() } else { format!("/{path}").into() }
}

/// Only what RFC 3986 §3.3 allows in a path: everything else would reach a backend or a Location field raw.
fn check(path: &str, field: &str) -> Result<(), Invalid> {
    let mut rest = path.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = match (byte, tail) {
            (b'%', [high, low, tail @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => tail,
            (b'?' | b'#', _) => {
                return Err(Invalid::field(
                    field,
                    format!(
                        "{path:?} holds a query or fragment; write a path only, the request's query is kept"
                    ),
                ));
            }
            (byte, tail) if byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(byte) => tail,
            _ => {
                return Err(Invalid::field(
                    field,
                    format!("{path:?} holds a character a path cannot; percent-encode it (RFC 3986)"),
                ));
            }
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefix(text: &str) -> PathEdit {
        PathEdit::compile(&PathModifier::ReplacePrefixMatch(text.into()), "path").unwrap()
    }

    fn changed(edit: &PathEdit, path: &str, matched: usize) -> (String, usize) {
        let mut out = String::new();
        let matched = edit.write(path, matched, &mut out);
        (out, matched)
    }

    /// The table of HTTPPathModifier: request path, matched prefix, replacement, result.
    #[test]
    fn the_table_of_the_specification_holds() {
        for (path, matched, replacement, want) in [
            ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
            ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
            ("/foo", "/foo", "/xyz", "/xyz"),
            ("/foo/", "/foo", "/xyz", "/xyz/"),
            ("/foo/bar", "/foo", "", "/bar"),
            ("/foo/", "/foo", "", "/"),
            ("/foo", "/foo", "", "/"),
            ("/foo/", "/foo", "/", "/"),
            ("/foo", "/foo", "/", "/"),
        ] {
            let (got, _) = changed(&prefix(replacement), path, matched.trim_end_matches('/').len());
            assert_eq!(got, want, "{path} with {matched} replaced by {replacement:?}");
        }
    }

    #[test]
    fn a_replaced_prefix_can_be_replaced_again() {
        let (once, matched) = changed(&prefix("/longer"), "/a/b", 2);
        assert_eq!(changed(&prefix("/c"), &once, matched).0, "/c/b");
    }

    proptest! {
        #[test]
        fn a_changed_path_starts_with_a_slash(
            replacement in "[a-z/.%:]{0,12}", path in "/?[a-zé/*]{0,12}", matched in 0usize..16, full: bool,
        ) {
            let modifier =
                if full { PathModifier::ReplaceFullPath(replacement) } else { PathModifier::ReplacePrefixMatch(replacement) };
            if let Ok(edit) = PathEdit::compile(&modifier, "path") {
                let (got, prefix) = changed(&edit, &path, matched);
                prop_assert!(got.starts_with('/'), "{got:?}");
                prop_assert!(got.len() <= edit.max_len(&path));
                prop_assert!(prefix <= got.len());
            }
        }

        #[test]
        fn replacing_a_prefix_by_itself_changes_nothing(prefix_text in "(/[a-z]{1,4}){0,3}", rest in "(/[a-z]{0,4}){0,3}") {
            let path = format!("{prefix_text}{rest}");
            prop_assume!(path.starts_with('/'));
            prop_assert_eq!(changed(&prefix(&prefix_text), &path, prefix_text.len()).0, path);
        }
    }
}
