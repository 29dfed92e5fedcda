//! Where a request has its tokens.

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderName, HeaderValue};

use super::spec::{ExtractFrom, ExtractHeader};
use crate::edits::RESERVED;
use crate::{Invalid, Request, head};

/// One place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A header field, and what stands before the token, in any case.
    Header(HeaderName, Box<str>),
    Cookie(Box<str>),
    /// A parameter of the query.
    Param(Box<str>),
}

/// More than one token where there may be one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ambiguous;

impl Place {
    /// The token that is there. White space, quotes and escapes are left as they are: no token has them.
    pub(super) fn find<'r>(&self, req: &'r Request) -> Result<Option<&'r [u8]>, Ambiguous> {
        let mut found = None;
        let mut take = |token: &'r [u8]| found.replace(token).map_or(Ok(()), |_| Err(Ambiguous));
        match self {
            Self::Header(name, prefix) => {
                let mut fields = 0;
                for value in req.headers.get_all(name) {
                    fields += 1;
                    if let Some(token) = after(prefix.as_bytes(), value.as_bytes()) {
                        take(token)?;
                    }
                }
                // Who reads only the first field, or the last, must not see other credentials than we do.
                if found.is_some() && fields > 1 {
                    return Err(Ambiguous);
                }
            }
            Self::Cookie(name) => {
                for field in req.headers.get_all(COOKIE) {
                    for token in field.as_bytes().split(|b| *b == b';').filter_map(|pair| value(name, pair)) {
                        take(token)?;
                    }
                }
            }
            Self::Param(name) => {
                let query = req.uri.query().unwrap_or_default().as_bytes();
                for token in query.split(|b| *b == b'&').filter_map(|pair| value(name, pair)) {
                    take(token)?;
                }
            }
        }
        Ok(found)
    }

    /// Takes the token away.
    pub(super) fn strip(&self, req: &mut Request) {
        match self {
            Self::Header(name, prefix) => {
                let holds = |value: &HeaderValue| after(prefix.as_bytes(), value.as_bytes()).is_some();
                if req.headers.get_all(name).iter().any(holds) {
                    req.remove_header(name);
                }
            }
            Self::Cookie(name) => {
                let fields = req.headers.get_all(COOKIE).iter();
                let pairs = fields.flat_map(|field| field.as_bytes().split(|b| *b == b';'));
                let kept: Vec<_> = pairs
                    .filter(|pair| value(name, pair).is_none())
                    .map(<[u8]>::trim_ascii)
                    .filter(|pair| !pair.is_empty())
                    .collect();
                let kept = kept.join(&b"; "[..]);
                req.remove_header(&COOKIE);
                if !kept.is_empty() {
                    // Parts of valid fields are valid.
                    let _ = HeaderValue::from_maybe_shared(Bytes::from(kept))
                        .map(|value| req.insert_header(COOKIE, value));
                }
            }
            Self::Param(name) => {
                head::retain_params(req, |pair| value(name, pair.as_bytes()).is_none());
            }
        }
    }

    /// The field it reads, if it is one of the head that only holds credentials.
    pub(super) fn header(&self) -> Option<&HeaderName> {
        match self {
            Self::Header(name, _) => Some(name),
            Self::Cookie(_) => Some(&COOKIE),
            Self::Param(_) => None,
        }
    }
}

/// What follows `prefix`, whatever its case: names of schemes have none (RFC 9110 section 11.1).
fn after<'v>(prefix: &[u8], value: &'v [u8]) -> Option<&'v [u8]> {
    let (start, rest) = value.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// The value of `name=value`.
fn value<'p>(name: &str, pair: &'p [u8]) -> Option<&'p [u8]> {
    pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

/// The places of a provider.
///
/// # Errors
/// A name that is none.
pub(super) fn compile(field: &str, from: Option<&ExtractFrom>) -> Result<Vec<Place>, Invalid> {
    let Some(ExtractFrom { headers, cookies, params }) = from else {
        // Envoy looks into the parameter `access_token`, too. RFC 6750 section 2.3: "this method SHOULD NOT be used".
        return Ok(vec![Place::Header(AUTHORIZATION, "Bearer ".into())]);
    };
    let mut places = Vec::new();
    for (at, ExtractHeader { name, value_prefix }) in headers.iter().enumerate() {
        let field = format!("{field}.headers[{at}]");
        let name = field_name(&format!("{field}.name"), name)?;
        let prefix = value_prefix.as_deref().unwrap_or_default();
        if prefix.len() > 64 || !prefix.bytes().all(|b| matches!(b, b' '..=b'~')) || prefix.starts_with(' ') {
            return Err(Invalid::field(
                format!("{field}.valuePrefix"),
                format!(
                    "{prefix:?} cannot stand there: write at most 64 printable characters, such as \"Bearer \""
                ),
            ));
        }
        places.push(Place::Header(name, prefix.into()));
    }
    let is_token = |text: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"!#$'*+-.^_`|~".contains(&b);
        (1..=128).contains(&text.len()) && text.bytes().all(plain)
    };
    for (list, names) in [("cookies", cookies), ("params", params)] {
        for (at, name) in names.iter().enumerate() {
            if !is_token(name) {
                return Err(Invalid::field(
                    format!("{field}.{list}[{at}]"),
                    format!("{name:?} is no name: use 1 to 128 letters, digits and - _ ."),
                ));
            }
            let name = name.as_str().into();
            places.push(if list == "cookies" { Place::Cookie(name) } else { Place::Param(name) });
        }
    }
    if places.is_empty() {
        return Err(Invalid::field(
            field,
            "names no place: give headers, cookies or params, or leave it out",
        ));
    }
    Ok(places)
}

/// A header field users may name.
pub(super) fn field_name(field: &str, text: &str) -> Result<HeaderName, Invalid> {
    let name = HeaderName::from_bytes(text.as_bytes()).ok().filter(|name| !RESERVED.contains(&name.as_str()));
    name.ok_or_else(|| {
        Invalid::field(
            field,
            format!(
                "{text:?} cannot be used: name a header field (RFC 9110 token) that does not frame messages"
            ),
        )
    })
}
