//! What a token says, once its signature is verified.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::cache::Mark;
use super::fields::{Fields, Kept};
use super::{Fault, json, workload};

/// Bytes for what is of the same size with each token; and for header fields, beside as many as are signed.
const ALLOWED: usize = 1024;

/// A token whose signature was verified. Times, issuer and audience are checked with each request.
pub(super) struct Verified {
    pub(super) mark: Mark,
    /// Bytes it takes, as estimated.
    pub(super) weight: usize,
    pub(super) claims: Arc<Map<String, Value>>,
    /// Claims that backends get.
    pub(super) fields: Kept,
    /// Seconds since 1970.
    pub(super) exp: i64,
    nbf: Option<i64>,
    iat: Option<i64>,
    iss: Box<str>,
    aud: Box<[Box<str>]>,
    jti: Option<Box<str>>,
    /// Which ServiceAccount and pod it is of, if Kubernetes has signed it.
    pub(super) holder: Option<workload::Holder>,
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
    pub(super) fn new(mark: Mark, claims: Map<String, Value>, fields: &Arc<Fields>) -> Result<Self, Fault> {
        let time = |name: &str| match claims.get(name) {
            None => Ok(None),
            // Whole seconds: nothing to round, and no 1e400.
            Some(value) => value.as_i64().filter(|at| *at >= 0).map(Some).ok_or(Fault::Invalid),
        };
        let jti = match claims.get("jti") {
            None => None,
            Some(jti) => Some(jti.as_str().ok_or(Fault::Invalid)?.into()),
        };
        let most = ALLOWED + mark.weight();
        Ok(Self {
            weight: ALLOWED + mark.weight() + weight_of(&claims, json::USUAL) + most,
            mark,
            fields: Kept::new(fields, &claims, most),
            exp: time("exp")?.ok_or(Fault::Invalid)?,
            nbf: time("nbf")?,
            iat: time("iat")?,
            iss: claims.get("iss").and_then(Value::as_str).unwrap_or_default().into(),
            aud: audiences(claims.get("aud"))?,
            jti,
            holder: workload::of(&claims),
            claims: Arc::new(claims),
        })
    }

    /// Whether it holds now (seconds since 1970).
    pub(super) fn meets(&self, demands: &Demands, now: i64) -> Result<(), Fault> {
        if self.iss != demands.issuer {
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

/// Bytes that an object with room for `least` members takes, as estimated: what stands in a few bytes of JSON may take a
/// hundred times as many.
fn weight_of(object: &Map<String, Value>, least: usize) -> usize {
    let inner = object.iter().map(|(name, value)| 16 + name.len() + weight_below(value));
    // An entry is hash, name and value, and a place of eight bytes in the index; room grows twofold.
    let entry = size_of::<(u64, String, Value)>() + 16;
    64 + object.len().next_power_of_two().max(least) * entry + inner.sum::<usize>()
}

/// Bytes that a value takes beside its own place.
fn weight_below(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => 16 + text.len(),
        Value::Array(list) => {
            let places = list.len().next_power_of_two().max(4) * size_of::<Value>();
            16 + places + list.iter().map(weight_below).sum::<usize>()
        }
        Value::Object(object) => weight_of(object, 4),
    }
}
