//! What a token says, once its signature is verified.

use std::sync::Arc;

use http::HeaderValue;
use serde_json::{Map, Value};

use super::cache::Digest;
use super::jws::{encode, printable};
use super::{Fault, workload};
use crate::caller::Workload;

/// A token whose signature was verified. Times, issuer and audience are checked with each request.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) digest: Digest,
    /// Bytes it takes, as estimated.
    pub(super) weight: usize,
    pub(super) claims: Arc<Map<String, Value>>,
    /// Seconds since 1970.
    pub(super) exp: i64,
    nbf: Option<i64>,
    iat: Option<i64>,
    aud: Box<[Box<str>]>,
    jti: Option<Box<str>>,
    /// Which ServiceAccount it is of, if Kubernetes has signed it.
    pub(super) workload: Option<Workload>,
}

/// What a provider asks of tokens besides a signature.
#[derive(Debug)]
pub(super) struct Demands {
    pub(super) issuer: Box<str>,
    pub(super) audiences: Box<[Box<str>]>,
    /// Seconds.
    pub(super) skew: i64,
    /// Seconds.
    pub(super) max_lifetime: Option<i64>,
}

impl Verified {
    /// # Errors
    /// [`Fault::Invalid`] when a registered claim is there and not what RFC 7519 section 4.1 says, or `exp` is missing.
    pub(super) fn new(digest: Digest, length: usize, claims: Map<String, Value>) -> Result<Self, Fault> {
        let time = |name: &str| match claims.get(name) {
            None => Ok(None),
            // Whole seconds: nothing to round, and no 1e400.
            Some(value) => value.as_i64().filter(|at| *at >= 0).map(Some).ok_or(Fault::Invalid),
        };
        let jti = match claims.get("jti") {
            None => None,
            Some(jti) => Some(jti.as_str().ok_or(Fault::Invalid)?.into()),
        };
        Ok(Self {
            digest,
            // Parsed JSON takes some times its text.
            weight: 512 + length * 6,
            exp: time("exp")?.ok_or(Fault::Invalid)?,
            nbf: time("nbf")?,
            iat: time("iat")?,
            aud: audiences(claims.get("aud"))?,
            jti,
            workload: workload::of(&claims),
            claims: Arc::new(claims),
        })
    }

    /// Whether it holds now (seconds since 1970).
    pub(super) fn meets(&self, demands: &Demands, now: i64) -> Result<(), Fault> {
        if self.claims.get("iss").and_then(Value::as_str) != Some(&demands.issuer) {
            return Err(Fault::Issuer);
        }
        let is_ours = |aud: &str| demands.audiences.iter().any(|ours| **ours == *aud);
        if !demands.audiences.is_empty() && !self.aud.iter().any(|aud| is_ours(aud)) {
            return Err(Fault::Audience);
        }
        // RFC 7519 section 4.1.4: "the current date/time MUST be before the expiration date/time".
        if self.exp.saturating_add(demands.skew) <= now {
            return Err(Fault::Expired);
        }
        let latest = now.saturating_add(demands.skew);
        if [self.nbf, self.iat].into_iter().flatten().any(|from| from > latest) {
            return Err(Fault::Invalid);
        }
        if let Some(longest) = demands.max_lifetime
            && self.iat.is_none_or(|iat| self.exp.saturating_sub(iat) > longest)
        {
            return Err(Fault::Invalid);
        }
        Ok(())
    }

    pub(super) fn jti(&self) -> Option<&str> {
        self.jti.as_deref()
    }
}

/// RFC 7519 section 4.1.3: a string or a list of them.
fn audiences(aud: Option<&Value>) -> Result<Box<[Box<str>]>, Fault> {
    match aud {
        None => Ok(Box::default()),
        Some(Value::String(one)) => Ok(Box::new([one.as_str().into()])),
        Some(Value::Array(list)) => {
            list.iter().map(|one| one.as_str().map(Into::into).ok_or(Fault::Invalid)).collect()
        }
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) => Err(Fault::Invalid),
    }
}

/// The way to a claim: `realm.roles` is `roles` in `realm`. A name may have dots itself (`kubernetes.io`): the longest that
/// is there counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimPath(Box<str>);

impl ClaimPath {
    /// From what a user writes; any text is one.
    #[must_use]
    pub fn new(path: &str) -> Self {
        Self(path.into())
    }

    /// The claim, if it is there.
    #[must_use]
    pub fn find<'c>(&self, claims: &'c Map<String, Value>) -> Option<&'c Value> {
        find(&self.0, claims)
    }
}

fn find<'c>(path: &str, object: &'c Map<String, Value>) -> Option<&'c Value> {
    if let Some(value) = object.get(path) {
        return Some(value);
    }
    path.rmatch_indices('.').find_map(|(dot, _)| {
        let (name, rest) = (path.get(..dot)?, path.get(dot + 1..)?);
        find(rest, object.get(name)?.as_object()?)
    })
}

/// A claim as a header field; `None`: null, or longer than a token can be.
pub(super) fn header(value: &Value) -> Option<HeaderValue> {
    match value {
        Value::Null => None,
        Value::String(text) => HeaderValue::from_str(&printable(text)).ok(),
        Value::Bool(true) => Some(HeaderValue::from_static("true")),
        Value::Bool(false) => Some(HeaderValue::from_static("false")),
        Value::Number(number) => HeaderValue::try_from(number.to_string()).ok(),
        Value::Array(_) | Value::Object(_) => {
            let json = serde_json::to_vec(value).ok()?;
            HeaderValue::try_from(encode(&json)).ok()
        }
    }
}
