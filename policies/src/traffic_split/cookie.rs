//! Cookies that say nothing but which client it is.

use std::time;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{Bounds, TOKEN, form, within};
use crate::set_cookie::SetCookie;
use crate::{Duration, Invalid, Response, Scheme, stable};

/// How long clients may keep it; browsers keep none longer than 400 days.
const TTL: Bounds = Bounds::new(time::Duration::from_secs(1), time::Duration::from_secs(400 * 24 * 60 * 60));

/// A cookie.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StickyCookie {
    /// Its name.
    #[schemars(transform = form(TOKEN))]
    pub name: String,
    /// How long clients keep the one they are given, 1s to 9600h. Default: while they run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = within(TTL))]
    pub ttl: Option<Duration>,
}

impl StickyCookie {
    pub(super) fn compile(&self) -> Result<Cookie, Invalid> {
        // RFC 6265 section 4.1.1: the name of a cookie is a token.
        if HeaderName::from_bytes(self.name.as_bytes()).is_err() {
            let message =
                format!("{:?} is not the name of a cookie: use letters, digits, - and _", self.name);
            return Err(Invalid::field("stickyBy.cookie.name", message));
        }
        let ttl = self.ttl.map(|ttl| TTL.check("stickyBy.cookie.ttl", ttl)).transpose()?;
        Ok(Cookie { name: self.name.as_str().into(), max_age: ttl.map(|ttl| ttl.as_secs()) })
    }
}

/// A compiled [`StickyCookie`].
#[derive(Debug)]
pub(super) struct Cookie {
    name: Box<str>,
    /// In seconds.
    max_age: Option<u64>,
}

impl Cookie {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The key of a client that has none yet, and what it is to be given: later it comes to the same key.
    pub(super) fn fresh(entropy: u64) -> (u64, Option<u64>) {
        // Not the bits that others of the request use.
        let value = stable::mixed(entropy, u64::from_be_bytes(*b"sticky\0\0"));
        (stable::hash(text(value).as_bytes()), Some(value))
    }

    pub(super) fn give(&self, rsp: &mut Response, value: u64, scheme: Scheme) {
        SetCookie {
            name: &self.name,
            value: &text(value),
            path: "/",
            max_age: self.max_age,
            same_site: "Lax",
            scheme,
        }
        .give(rsp);
    }
}

fn text(value: u64) -> String {
    URL_SAFE_NO_PAD.encode(value.to_be_bytes())
}
