//! Lists of methods and header names, ready to be sent.

use http::{HeaderMap, HeaderValue, header};

use crate::{Invalid, Response};

/// What a list grants.
#[derive(Debug)]
pub(super) enum Grant {
    /// The list is empty: nothing is said of it.
    Unsaid,
    /// `*`.
    Any,
    /// As one field value.
    Listed(HeaderValue),
}

impl Grant {
    /// # Errors
    /// When an entry is not what `fits`.
    pub(super) fn compile(field: &str, list: &[String], fits: fn(&str) -> bool) -> Result<Self, Invalid> {
        if list.is_empty() {
            return Ok(Self::Unsaid);
        }
        if list.iter().any(|entry| entry == "*") {
            return Ok(Self::Any);
        }
        if let Some((index, entry)) = list.iter().enumerate().find(|(_, entry)| !fits(entry)) {
            return Err(Invalid::field(
                format!("{field}[{index}]"),
                format!("{entry:?} is not a name: use letters, digits and - (RFC 9110 token), or * alone"),
            ));
        }
        HeaderValue::from_str(&list.join(", "))
            .map(Self::Listed)
            .map_err(|_| Invalid::field(field, "is too long for a header value; shorten the list"))
    }
}

/// The names of a response's fields, save those a browser shows anyway and those it never shows (Fetch).
pub(super) fn exposable(headers: &HeaderMap) -> Option<HeaderValue> {
    let known = [
        header::CACHE_CONTROL,
        header::CONTENT_LANGUAGE,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::EXPIRES,
        header::LAST_MODIFIED,
        header::PRAGMA,
        header::SET_COOKIE,
    ];
    let mut names = String::new();
    for name in headers.keys().filter(|name| !known.contains(name)) {
        if !names.is_empty() {
            names.push_str(", ");
        }
        names.push_str(name.as_str());
    }
    if names.is_empty() { None } else { names.try_into().ok() }
}

/// Adds `name` to `Vary` unless it is there.
pub(super) fn vary_by(rsp: &mut Response, name: &'static str) {
    let is_named = |value: &HeaderValue| {
        value.to_str().is_ok_and(|names| {
            names.split(',').map(str::trim).any(|n| n == "*" || n.eq_ignore_ascii_case(name))
        })
    };
    if !rsp.headers.get_all(header::VARY).iter().any(is_named) {
        // Fails only when the head is full; see `edits`.
        let _ = rsp.append_header("Vary", HeaderValue::from_static(name));
    }
}
