//! Claims as header fields, worked out once for a token.

use std::sync::{Arc, Weak};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::claims::ClaimPath;
use super::jws::{encode, printable};
use crate::Request;

/// Which claims backends get, and as what.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fields(Box<[Field]>);

/// One of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: HeaderName,
    /// As the user wrote it: HTTP/1 keeps the case.
    pub(super) written: Bytes,
    pub(super) claim: ClaimPath,
}

/// What [`Fields`] come to, in their order; `None`: the claim is not there.
type Values = Box<[Option<HeaderValue>]>;

impl Fields {
    pub(super) fn new(fields: impl IntoIterator<Item = Field>) -> Self {
        Self(fields.into_iter().collect())
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter().map(|field| &field.name)
    }

    fn values(&self, claims: &Map<String, Value>) -> Values {
        self.0.iter().map(|field| field.claim.find(claims).and_then(value)).collect()
    }

    /// A field that is there is left: the first provider's word counts.
    fn set(&self, values: &Values, req: &mut Request) {
        for (Field { name, written, .. }, value) in self.0.iter().zip(values) {
            if let Some(value) = value
                && !req.headers.contains_key(name)
            {
                // Names and values are valid, so inserting cannot fail.
                let _ = req.insert_header(written.clone(), value.clone());
            }
        }
    }
}

/// Values for one token, of the provider that verified it. Policies that have the same keys share tokens: values of a policy
/// that is gone make place for another's, and as long as it is there, others work theirs out each time.
pub(super) struct Kept {
    /// Bytes it may take.
    most: usize,
    values: ArcSwapOption<(Weak<Fields>, Values)>,
}

impl Kept {
    pub(super) fn new(fields: &Arc<Fields>, claims: &Map<String, Value>, most: usize) -> Self {
        let kept = Self { most, values: ArcSwapOption::empty() };
        kept.keep(fields, fields.values(claims));
        kept
    }

    /// Sets the fields of a request.
    pub(super) fn set(&self, fields: &Arc<Fields>, claims: &Map<String, Value>, req: &mut Request) {
        let kept = self.values.load();
        if let Some((of, values)) = kept.as_deref() {
            let is_same = of.as_ptr() == Arc::as_ptr(fields);
            if is_same || of.upgrade().is_some_and(|of| of == *fields) {
                return fields.set(values, req);
            }
        }
        let values = fields.values(claims);
        fields.set(&values, req);
        if kept.as_ref().is_none_or(|kept| kept.0.strong_count() == 0) {
            self.keep(fields, values);
        }
    }

    fn keep(&self, fields: &Arc<Fields>, values: Values) {
        let bytes = |value: &Option<HeaderValue>| 64 + value.as_ref().map_or(0, HeaderValue::len);
        if values.iter().map(bytes).sum::<usize>() <= self.most {
            self.values.store(Some(Arc::new((Arc::downgrade(fields), values))));
        }
    }
}

/// A claim as a header field; `None`: null, or longer than a token can be.
fn value(claim: &Value) -> Option<HeaderValue> {
    match claim {
        Value::Null => None,
        Value::String(text) => HeaderValue::from_str(&printable(text)).ok(),
        Value::Bool(true) => Some(HeaderValue::from_static("true")),
        Value::Bool(false) => Some(HeaderValue::from_static("false")),
        Value::Number(number) => HeaderValue::try_from(number.to_string()).ok(),
        Value::Array(_) | Value::Object(_) => {
            let json = serde_json::to_vec(claim).ok()?;
            HeaderValue::try_from(encode(&json)).ok()
        }
    }
}
