//! Answers that hold for a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderName;

use super::body::Shown;
use super::decision::Decision;
use crate::digest::{Digest, keyed};
use crate::memo::Memo;
use crate::{Request, Scheme, head};

#[derive(Debug)]
pub(super) struct Cache {
    ttl: Duration,
    keys: Box<[HeaderName]>,
    kept: Memo<Arc<Decision>>,
}

impl Cache {
    pub(super) fn new(ttl: Duration, keys: Box<[HeaderName]>, entries: u32) -> Self {
        Self { ttl, keys, kept: Memo::new(usize::try_from(entries).unwrap_or(1)) }
    }

    /// What tells a request from others that may have another answer.
    pub(super) fn key(&self, req: &Request, body: Option<&Shown>, scheme: Scheme) -> Digest {
        let target = req.uri.path_and_query().map_or("", |target| target.as_str());
        let host = head::authority(req).unwrap_or_default();
        let is_partial = body.map_or("none", Shown::is_partial);
        let mut parts = vec![
            is_partial.as_bytes(),
            body.map_or(&[][..], |body| &body.bytes),
            req.method.as_str().as_bytes(),
            scheme.as_str().as_bytes(),
            host.as_bytes(),
            target.as_bytes(),
        ];
        for name in &self.keys {
            parts.extend(req.headers.get_all(name).iter().map(http::HeaderValue::as_bytes));
            // Else a value of one field could be that of the next. No value is this.
            parts.push(b"\r\n");
        }
        keyed(&parts)
    }

    pub(super) fn get(&self, key: &Digest) -> Option<Arc<Decision>> {
        self.kept.get(key, Instant::now())
    }

    pub(super) fn put(&self, key: Digest, decision: Arc<Decision>) {
        self.kept.put(key, Instant::now() + self.ttl, decision);
    }
}
