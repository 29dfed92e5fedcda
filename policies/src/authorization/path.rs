//! Paths as rules write them, and the readings of a request's path that they are compared with.
//!
//! The path is the normal form that goes to the backend. Escapes are left in it, and a backend may read `%61` as `a`: so
//! escapes are compared as what they stand for, but for `%2F` and `%5C`. Where a listener lets those through
//! (`escapedSlashesAction: KeepUnchanged`), nobody knows whether a backend takes them for slashes: an Allow rule wants
//! both readings to suit, for a Deny rule one is enough.

use std::borrow::Cow;

use super::bits::Bits;
use super::spec::{GrpcMethod, PathCondition, PathType};
use super::table::{Prefixes, Seen, Texts};
use crate::Invalid;

/// Bytes of a path in a rule.
const LONGEST: usize = 1024;

/// What a request's path may mean to a backend.
#[derive(Debug)]
pub(super) struct Readings<'a> {
    plain: Cow<'a, [u8]>,
    /// Escaped slashes are slashes; `None`: there is none.
    slashed: Option<Vec<u8>>,
}

impl<'a> Readings<'a> {
    /// `None`: it is no path (`OPTIONS *`).
    pub(super) fn of(path: &'a str) -> Option<Self> {
        if !path.starts_with('/') {
            return None;
        }
        if !path.contains('%') {
            return Some(Self { plain: Cow::Borrowed(path.as_bytes()), slashed: None });
        }
        let plain = unescape(path.as_bytes());
        let slashed = has_escaped_slash(&plain).then(|| resolve(&plain));
        Some(Self { plain: Cow::Owned(plain), slashed })
    }

    pub(super) fn each(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(&*self.plain).chain(self.slashed.as_deref())
    }
}

/// Decodes all escapes but those of `/`, `\` and `%`, which come out in upper case: what differs stays different.
fn unescape(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&first, after)) = rest.split_first() {
        let escaped = if first == b'%' { escape(after) } else { None };
        match escaped {
            Some((b'/', _)) => out.extend_from_slice(b"%2F"),
            Some((b'\\', _)) => out.extend_from_slice(b"%5C"),
            Some((b'%', _)) => out.extend_from_slice(b"%25"),
            Some((byte, _)) => out.push(byte),
            // No escape; no such path comes this far.
            None if first == b'%' => out.extend_from_slice(b"%25"),
            None => out.push(first),
        }
        rest = escaped.map_or(after, |(_, after)| after);
    }
    out
}

/// What the two digits after `%` stand for, and what follows them.
fn escape(digits: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, after) = digits.split_at_checked(2)?;
    let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
    Some((u8::try_from(digit(0)? << 4 | digit(1)?).ok()?, after))
}

/// The escape of a slash or backslash that `path`, which was unescaped, begins with.
fn is_escaped_slash(path: &[u8]) -> bool {
    path.starts_with(b"%2F") || path.starts_with(b"%5C")
}

fn has_escaped_slash(path: &[u8]) -> bool {
    path.windows(3).any(is_escaped_slash)
}

/// The path a backend sees that takes escaped slashes for slashes, and then leaves out what says nothing.
fn resolve(path: &[u8]) -> Vec<u8> {
    let mut slashed = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&first, after)) = rest.split_first() {
        let is_slash = is_escaped_slash(rest);
        slashed.push(if is_slash { b'/' } else { first });
        rest = if is_slash { rest.get(3..).unwrap_or_default() } else { after };
    }
    let mut segments: Vec<&[u8]> = Vec::new();
    let mut is_open = false;
    for segment in slashed.split(|byte| *byte == b'/') {
        is_open = matches!(segment, b"" | b"." | b"..");
        match segment {
            b"" | b"." => {}
            b".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    if is_open {
        segments.push(b"");
    }
    segments.iter().flat_map(|segment| std::iter::once(&b'/').chain(*segment)).copied().collect()
}

/// Paths by rule.
#[derive(Debug, Default)]
pub(super) struct Paths {
    exact: Texts,
    prefixes: Prefixes,
    templates: Box<[(Template, Bits)]>,
}

impl Paths {
    pub(super) fn look(&self, readings: Option<&Readings<'_>>) -> Seen {
        readings.map_or(Seen::Unknown, |readings| Seen::each(readings.each().map(|path| self.get(path))))
    }

    fn get(&self, path: &[u8]) -> Bits {
        let templates = self.templates.iter().filter(|(template, _)| template.matches(path));
        let found = self.exact.get(path) | self.prefixes.get(path, true);
        templates.fold(found, |all, (_, rules)| all | *rules)
    }
}

/// A path that was read.
#[derive(Debug)]
pub(super) enum Pattern {
    Exact(Box<[u8]>),
    /// Without slashes at its end.
    Prefix(Box<[u8]>),
    Template(Template),
}

impl FromIterator<(Pattern, Bits)> for Paths {
    fn from_iter<I: IntoIterator<Item = (Pattern, Bits)>>(patterns: I) -> Self {
        let (mut exact, mut prefixes, mut templates) = (Vec::new(), Vec::new(), Vec::new());
        for (pattern, rules) in patterns {
            match pattern {
                Pattern::Exact(path) => exact.push((path, rules)),
                Pattern::Prefix(path) => prefixes.push((path, rules)),
                Pattern::Template(template) => templates.push((template, rules)),
            }
        }
        Self {
            exact: exact.into_iter().collect(),
            prefixes: prefixes.into_iter().collect(),
            templates: templates.into(),
        }
    }
}

/// Segments of a path.
#[derive(Debug)]
pub(super) struct Template {
    /// `None`: any that is not empty.
    segments: Box<[Option<Box<[u8]>>]>,
    /// More may follow.
    is_open: bool,
}

impl Template {
    fn matches(&self, path: &[u8]) -> bool {
        let mut segments = path.split(|byte| *byte == b'/').skip(1);
        let suits = self.segments.iter().all(|wanted| {
            segments.next().is_some_and(|segment| match wanted {
                Some(wanted) => **wanted == *segment,
                None => !segment.is_empty(),
            })
        });
        suits && (self.is_open || segments.next().is_none())
    }
}

impl PathCondition {
    pub(super) fn compile(&self, field: &str) -> Result<Pattern, Invalid> {
        let field = format!("{field}.value");
        let path = self.value.as_str();
        check(path, self.kind, &field)?;
        Ok(match self.kind {
            PathType::Exact => Pattern::Exact(unescape(path.as_bytes()).into()),
            PathType::PathPrefix => Pattern::Prefix(unescape(path.trim_end_matches('/').as_bytes()).into()),
            PathType::Template => {
                let whole = path.strip_suffix("/**");
                let segments = whole.unwrap_or(path).split('/').skip(1);
                let segment = |text: &str| (!text.starts_with('{')).then(|| unescape(text.as_bytes()).into());
                Pattern::Template(Template {
                    segments: segments.map(segment).collect(),
                    is_open: whole.is_some(),
                })
            }
        })
    }
}

/// RFC 3986 section 3.3, in normal form, with what a template has beside.
fn check(path: &str, kind: PathType, field: &str) -> Result<(), Invalid> {
    let wrong = |message: &str| Err(Invalid::field(field, format!("{path:?} {message}")));
    let Some(below) = path.strip_prefix('/') else {
        return wrong("does not begin with a slash: write a path such as /users");
    };
    if path.len() > LONGEST {
        return wrong("is longer than 1,024 bytes: write a prefix of it");
    }
    if path.contains(['?', '#']) {
        return wrong("has a query or fragment: write the path alone; `when` can look at request.query");
    }
    let is_template = kind == PathType::Template;
    let (below, is_open) = match path.strip_suffix("/**").filter(|_| is_template) {
        Some("") => return Ok(()),
        Some(before) => (before.strip_prefix('/').unwrap_or_default(), true),
        None => (below, false),
    };
    let mut segments = below.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none() && !is_open;
        let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        if let Some(name) = name.filter(|_| is_template) {
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)) {
                return wrong("has braces without a name: write {id}, with letters, digits, - and _");
            }
            continue;
        }
        if segment.contains(['{', '}']) || is_template && segment.contains('*') {
            return wrong(
                "has {, } or * in a place where they say nothing: {id} is a whole segment of a Template, /** its end; \
                 else percent-encode them",
            );
        }
        if matches!(&*unescape(segment.as_bytes()), b"." | b"..") || segment.is_empty() && !is_last {
            return wrong(
                "has a dot segment or an empty one, which no path has that is forwarded: leave it out",
            );
        }
        if !is_encoded(segment.as_bytes()) {
            return wrong("holds a character a path cannot: percent-encode it (RFC 3986)");
        }
    }
    Ok(())
}

fn is_encoded(segment: &[u8]) -> bool {
    let mut rest = segment;
    while let Some((first, after)) = rest.split_first() {
        rest = match first {
            b'%' => match escape(after) {
                Some((1.., after)) => after,
                Some((0, _)) | None => return false,
            },
            byte if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(byte) => after,
            _ => return false,
        };
    }
    true
}

impl GrpcMethod {
    pub(super) fn compile(&self, field: &str) -> Result<Pattern, Invalid> {
        name(&self.service, true, &format!("{field}.service"))?;
        if let Some(method) = &self.method {
            name(method, false, &format!("{field}.method"))?;
            return Ok(Pattern::Exact(format!("/{}/{method}", self.service).into_bytes().into()));
        }
        let segments = [Some(self.service.as_bytes().into()), None];
        Ok(Pattern::Template(Template { segments: segments.into(), is_open: false }))
    }
}

fn name(text: &str, has_package: bool, field: &str) -> Result<(), Invalid> {
    let is_name = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    let fits = if has_package { text.split('.').all(is_name) } else { is_name(text) };
    if text.len() > LONGEST || !fits {
        let like = if has_package { "shop.Cart" } else { "GetItem" };
        return Err(Invalid::field(field, format!("{text:?} is no name of gRPC: write one such as {like}")));
    }
    Ok(())
}
