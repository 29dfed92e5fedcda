//! Where a request carries a credential: in header fields, parameters of the query, or cookies.

use std::borrow::Cow;

use http::{HeaderName, HeaderValue, header};
use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use schemars::transform::Transform;
use serde::{Deserialize, Serialize};

use crate::edits::name;
use crate::head::retain_params;
use crate::schema::{TOKEN, each, field_name, form, rule};
use crate::{Invalid, Request};

/// Places in one request; looking costs one pass over the head each.
const MOST: usize = 16;

/// Where to look for a credential.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExtractFrom {
    /// Names of header fields, in any case. `Bearer ` before the credential is no part of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MOST), transform = each(field_name), transform = each(no_cookies()))]
    pub headers: Vec<String>,
    /// Names of parameters of the query, in this case; name and value may be percent-encoded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MOST), inner(length(min = 1, max = 253)))]
    pub params: Vec<String>,
    /// Names of cookies, in this case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MOST), transform = each(form(TOKEN)))]
    pub cookies: Vec<String>,
}

fn no_cookies() -> impl Transform {
    rule("self.lowerAscii() != 'cookie'", "holds many cookies: name the one in cookies")
}

/// Of a list of them, as [`Places::compile`] counts.
pub(crate) fn some_places() -> impl Transform {
    rule(
        "[self.map(e, (has(e.headers) ? size(e.headers) : 0) + (has(e.params) ? size(e.params) : 0) + \
         (has(e.cookies) ? size(e.cookies) : 0)).sum()].all(n, n >= 1 && n <= 16)",
        "name 1 to 16 headers, params and cookies in all",
    )
}

/// Compiled [`ExtractFrom`]s.
#[derive(Debug)]
pub(crate) struct Places(Box<[Place]>);

#[derive(Debug, PartialEq, Eq)]
enum Place {
    Header(HeaderName),
    Param(Box<str>),
    Cookie(Box<str>),
}

/// What a request carries.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'r> {
    Nothing,
    One(Cow<'r, [u8]>),
    /// More than one: who reads on may not take the one that we would.
    Several,
}

impl Places {
    /// # Errors
    /// A name that nothing can have, a place named twice, or none or too many.
    pub(crate) fn compile(field: &str, from: &[ExtractFrom]) -> Result<Self, Invalid> {
        let mut places = Vec::new();
        for (at, ExtractFrom { headers, params, cookies }) in from.iter().enumerate() {
            let mut add = |list: &str, index: usize, place: Result<Place, String>| {
                let field = format!("{field}[{at}].{list}[{index}]");
                let place = place.map_err(|message| Invalid::field(&field, message))?;
                if places.contains(&place) {
                    return Err(Invalid::field(&field, "is there twice; name each place once"));
                }
                places.push(place);
                Ok(())
            };
            for (index, text) in headers.iter().enumerate() {
                let name = name(&format!("{field}[{at}].headers[{index}]"), text)?;
                let place = if name == header::COOKIE {
                    Err("holds many cookies; name the one in `cookies`".into())
                } else {
                    Ok(Place::Header(name))
                };
                add("headers", index, place)?;
            }
            for (index, text) in params.iter().enumerate() {
                let place = if text.is_empty() {
                    Err("is empty; name a parameter of the query".into())
                } else {
                    Ok(Place::Param(text.as_str().into()))
                };
                add("params", index, place)?;
            }
            for (index, text) in cookies.iter().enumerate() {
                // RFC 6265 section 4.1.1: the name of a cookie is a token.
                let place = HeaderName::from_bytes(text.as_bytes())
                    .map(|_| Place::Cookie(text.as_str().into()))
                    .map_err(|_| {
                        format!("{text:?} is not the name of a cookie: use letters, digits, - and _")
                    });
                add("cookies", index, place)?;
            }
        }
        if places.is_empty() || places.len() > MOST {
            let message =
                format!("names {} places; name 1 to {MOST} headers, params and cookies", places.len());
            return Err(Invalid::field(field, message));
        }
        Ok(Self(places.into()))
    }

    /// The credential of a request.
    pub(crate) fn find<'r>(&self, req: &'r Request) -> Found<'r> {
        let mut found = Found::Nothing;
        let mut take = |value: Cow<'r, [u8]>| {
            found = if found == Found::Nothing { Found::One(value) } else { Found::Several };
        };
        for place in &self.0 {
            match place {
                Place::Header(name) => req
                    .headers
                    .get_all(name)
                    .iter()
                    .for_each(|value| take(Cow::Borrowed(without_scheme(value.as_bytes())))),
                Place::Param(name) => params(req)
                    .filter_map(|pair| value_of(pair, name))
                    .for_each(|value| take(percent_decode_str(value).into())),
                Place::Cookie(name) => req
                    .headers
                    .get_all(header::COOKIE)
                    .iter()
                    .flat_map(|field| cookies(field.as_bytes()))
                    .filter_map(|pair| cookie_value(pair, name))
                    .for_each(|value| take(Cow::Borrowed(value))),
            }
        }
        found
    }

    /// Takes the credential out of a request, wherever it stands.
    pub(crate) fn remove(&self, req: &mut Request) {
        for place in &self.0 {
            match place {
                Place::Header(name) => {
                    req.remove_header(name);
                }
                Place::Param(name) => retain_params(req, |pair| value_of(pair, name).is_none()),
                Place::Cookie(name) => remove_cookie(req, name),
            }
        }
    }
}

/// RFC 9110 section 11.1: the name of a scheme has no case.
fn without_scheme(value: &[u8]) -> &[u8] {
    match value.split_at_checked(7) {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case(b"bearer ") => key.trim_ascii_start(),
        Some(_) | None => value,
    }
}

/// The first parameter of this name, decoded.
pub(crate) fn param<'r>(req: &'r Request, name: &str) -> Option<Cow<'r, [u8]>> {
    params(req).find_map(|pair| value_of(pair, name)).map(|value| percent_decode_str(value).into())
}

/// The cookies of this name, in order.
pub(crate) fn cookie<'r>(req: &'r Request, name: &str) -> impl Iterator<Item = &'r [u8]> {
    let fields = req.headers.get_all(header::COOKIE).iter();
    fields.flat_map(|field| cookies(field.as_bytes())).filter_map(move |pair| cookie_value(pair, name))
}

fn params(req: &Request) -> impl Iterator<Item = &str> {
    req.uri.query().unwrap_or_default().split('&')
}

/// The value of a parameter of this name, still encoded.
fn value_of<'p>(pair: &'p str, name: &str) -> Option<&'p str> {
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    let key: Cow<'_, [u8]> = percent_decode_str(key).into();
    (*key == *name.as_bytes()).then_some(value)
}

/// The pairs of a Cookie field (RFC 6265 section 4.2.1).
fn cookies(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    field.split(|byte| *byte == b';').map(<[u8]>::trim_ascii)
}

fn cookie_value<'c>(pair: &'c [u8], name: &str) -> Option<&'c [u8]> {
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    let (key, value) = pair.split_at_checked(equals)?;
    (key.trim_ascii_end() == name.as_bytes()).then(|| value.get(1..).unwrap_or_default().trim_ascii_start())
}

fn remove_cookie(req: &mut Request, name: &str) {
    let is_named = |pair: &[u8]| cookie_value(pair, name).is_some();
    let fields: Vec<HeaderValue> = req.headers.get_all(header::COOKIE).iter().cloned().collect();
    if !fields.iter().any(|field| cookies(field.as_bytes()).any(is_named)) {
        return;
    }
    req.remove_header(&header::COOKIE);
    for field in fields {
        let kept: Vec<&[u8]> = cookies(field.as_bytes()).filter(|pair| !is_named(pair)).collect();
        // Fails for no part of a value that was one.
        if let Ok(value) = HeaderValue::from_bytes(&kept.join(&b"; "[..]))
            && !value.is_empty()
        {
            let _ = req.append_header(header::COOKIE, value);
        }
    }
}

#[cfg(test)]
mod tests;
