//! Sessions that stay with one endpoint (GEP-1619): its name in a cookie, or in a header field.
//!
//! The name is a digest of backend and address, mixed with the rule's, so that every proxy knows it without state, after a
//! restart too, and rules do not share sessions ("Route rules referencing the same service MUST NOT share persistent
//! sessions"). It is no secret and holds for endpoints of the rule only: whoever makes one up chooses among these, as anybody
//! can who asks often enough.

use std::net::SocketAddr;
use std::time;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::edits::RESERVED;
use crate::extract::cookie;
use crate::set_cookie::SetCookie;
use crate::{Context, Duration, Filter, Invalid, Lookup, Policy, Request, Response, Verdict, stable};

/// Fields that are not for this, beside those of the connection.
const TAKEN: [&str; 4] = ["authorization", "content-type", "cookie", "set-cookie"];
/// Of a name (Gateway API).
const LONGEST_NAME: usize = 128;
/// How far clocks of proxies may be apart, in seconds.
const SKEW: u64 = 60;

/// Sessions of one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionPersistence {
    /// Name of the cookie or header field, a token of at most 128 characters.
    pub session_name: String,
    /// Which rule: sessions of others are none of its.
    pub scope: String,
    /// Where a session's endpoint is named. Default: Cookie.
    #[serde(default, rename = "type")]
    pub kind: SessionType,
    /// Sessions end so long after they began. Default: they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absolute_timeout: Option<Duration>,
    /// How long clients keep the cookie. Default: Session.
    #[serde(default)]
    pub lifetime_type: LifetimeType,
}

/// Where a session's endpoint is named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SessionType {
    /// In a cookie.
    #[default]
    Cookie,
    /// In a header field, which clients send back.
    Header,
}

/// How long clients keep the cookie.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LifetimeType {
    /// While they run.
    #[default]
    Session,
    /// For `absoluteTimeout`.
    Permanent,
}

/// What the engine is told, and tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Session {
    /// [`tag`] of the endpoint the request wants.
    pub wanted: Option<u64>,
    /// Of the one it got.
    pub got: Option<u64>,
}

/// What an endpoint of a backend (`namespace/name:port`) is called, everywhere and always.
#[must_use]
pub fn tag(backend: &str, address: SocketAddr) -> u64 {
    stable::hash(format!("{backend}\n{address}").as_bytes())
}

/// The name of the sessions of a rule whose user gave none.
#[must_use]
pub fn default_name(scope: &str) -> String {
    format!("fairway-session-{:08x}", stable::hash(scope.as_bytes()) >> 32)
}

impl Policy for SessionPersistence {
    type Filter = SessionFilter;

    fn compile(&self, _: &dyn Lookup) -> Result<SessionFilter, Invalid> {
        // RFC 6265 section 4.1.1: the name of a cookie is a token, as that of a header field is.
        let name = HeaderName::from_bytes(self.session_name.as_bytes());
        let name = name.ok().filter(|_| self.session_name.len() <= LONGEST_NAME).ok_or_else(|| {
            let message = format!(
                "{:?} is no token of 1 to {LONGEST_NAME} letters, digits, - and _",
                self.session_name
            );
            Invalid::field("sessionName", message)
        })?;
        let carrier = match self.kind {
            SessionType::Cookie => Carrier::Cookie(self.session_name.as_str().into()),
            SessionType::Header if TAKEN.iter().chain(&RESERVED).any(|taken| name == *taken) => {
                let message = format!("{name} is a field that means something else; choose another name");
                return Err(Invalid::field("sessionName", message));
            }
            SessionType::Header => Carrier::Header(name),
        };
        let timeout = self.absolute_timeout.map(|Duration(timeout)| timeout.as_secs());
        if timeout == Some(0) {
            return Err(Invalid::field("absoluteTimeout", "is shorter than 1s: leave it out for no end"));
        }
        let is_permanent = self.lifetime_type == LifetimeType::Permanent;
        if is_permanent && (timeout.is_none() || self.kind == SessionType::Header) {
            let message = "is Permanent, which needs absoluteTimeout and type Cookie";
            return Err(Invalid::field("lifetimeType", message));
        }
        Ok(SessionFilter {
            carrier,
            scope: stable::hash(self.scope.as_bytes()),
            timeout,
            is_permanent,
            now: seconds,
        })
    }
}

/// Since 1970.
fn seconds() -> u64 {
    time::SystemTime::now().duration_since(time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A compiled [`SessionPersistence`].
#[derive(Debug)]
pub struct SessionFilter {
    carrier: Carrier,
    scope: u64,
    /// In seconds.
    timeout: Option<u64>,
    is_permanent: bool,
    now: fn() -> u64,
}

#[derive(Debug)]
enum Carrier {
    Cookie(Box<str>),
    Header(HeaderName),
}

impl Filter for SessionFilter {
    /// Of a cookie, the path it is for, unless that is `/`.
    type State = Option<Box<str>>;

    fn request<'a>(
        &'a self,
        req: &'a mut Request,
        ctx: &'a mut Context,
        path: &'a mut Option<Box<str>>,
    ) -> Verdict<'a> {
        let wanted = match &self.carrier {
            Carrier::Cookie(name) => {
                // GEP-1619: "For an xRoute that has multiple paths, the Path should be interpreted based on the route path
                // that was matched".
                let matched = req.uri.path().get(..ctx.matched_prefix).unwrap_or_default();
                // A semicolon would end the attribute.
                *path = (!matched.is_empty() && !matched.contains(';')).then(|| matched.into());
                cookie(req, name).find_map(|value| self.read(value))
            }
            Carrier::Header(name) => {
                req.headers.get_all(name).iter().find_map(|value| self.read(value.as_bytes()))
            }
        };
        ctx.session = Some(Session { wanted, got: None });
        Verdict::Continue
    }

    fn response(&self, rsp: &mut Response, ctx: &Context, path: &Option<Box<str>>) {
        let Some(Session { wanted, got: Some(got) }) = ctx.session else { return };
        if wanted == Some(got) {
            return;
        }
        let value = self.write(got);
        match &self.carrier {
            Carrier::Cookie(name) => SetCookie {
                name,
                value: &value,
                path: path.as_deref().unwrap_or("/"),
                max_age: self.timeout.filter(|_| self.is_permanent),
                same_site: "Strict",
                scheme: ctx.scheme,
            }
            .give(rsp),
            Carrier::Header(name) => {
                // It cannot fail: base64.
                if let Ok(value) = HeaderValue::try_from(value) {
                    let _ = rsp.insert_header(name.clone(), value);
                }
            }
        }
    }
}

impl SessionFilter {
    /// The endpoint that is named, while the session lasts.
    fn read(&self, value: &[u8]) -> Option<u64> {
        // Twelve bytes are sixteen characters; nothing longer is looked at.
        let mut bytes = [0; 12];
        let length = URL_SAFE_NO_PAD.decode_slice(value.get(..16).unwrap_or(value), &mut bytes).ok()?;
        let (tag, begun) = bytes.split_first_chunk::<8>()?;
        if let Some(timeout) = self.timeout {
            let begun = u64::from(u32::from_be_bytes(*begun.first_chunk()?));
            let now = (self.now)();
            if length < bytes.len() || begun > now + SKEW || now >= begun.saturating_add(timeout) {
                return None;
            }
        } else if length < 8 {
            return None;
        }
        (value.len() <= 16).then(|| u64::from_be_bytes(*tag) ^ self.scope)
    }

    fn write(&self, tag: u64) -> String {
        let mut bytes = (tag ^ self.scope).to_be_bytes().to_vec();
        if self.timeout.is_some() {
            bytes.extend(u32::try_from((self.now)()).unwrap_or(u32::MAX).to_be_bytes());
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

#[cfg(test)]
mod tests;
