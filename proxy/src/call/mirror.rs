//! Copies of requests. They never delay the request they copy: whatever would wait drops the copy instead.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use bytes::Bytes;
use http::header::UPGRADE;
use pingora_http::RequestHeader;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::body::Charge;
use super::head::is_grpc;
use super::{Body, BodySender, Limits, Net};
use crate::upstream::{ClientIdentity, Cluster};

/// Time for a whole copy.
const TIME: Duration = Duration::from_secs(30);
/// Bytes of its answer that are read, so that the connection can be used again.
const ANSWER: usize = 1 << 20;
/// Pieces of its body that may wait.
const PIECES: usize = 64;
/// Bytes of its body that may wait.
const WAITING: usize = 1 << 20;
/// Bytes of all copies of this process that may wait.
const ALL_WAITING: usize = 64 << 20;

impl Net {
    /// Starts a copy of a request to `cluster`; never waits. `head` as the backend would have seen it, its Host stays.
    /// `has_body`: the body follows through the returned handle. `None`: nothing more to do, either because there is no
    /// body or because the copy was dropped (256 are under way, or the request is an upgrade). `identity`: what the backend
    /// is shown. Both are counted in the
    /// cluster's `stats`. Call it on the runtime; an answer is given 30 s and thrown away.
    #[must_use]
    pub(crate) fn start_mirror(
        self: &Arc<Self>,
        cluster: Arc<Cluster>,
        head: &RequestHeader,
        has_body: bool,
        identity: Option<Arc<ClientIdentity>>,
    ) -> Option<MirrorBody> {
        let permit = cluster.mirror_permit().filter(|_| !head.headers.contains_key(UPGRADE));
        let Some(permit) = permit else {
            cluster.stats.mirrored(false);
            return None;
        };
        let (sender, body) = has_body.then(|| Body::channel(PIECES)).unzip();
        let (net, head, target) = (Arc::clone(self), head.clone(), cluster.clone());
        let task = tokio::spawn(async move {
            let _permit = permit;
            let limits = Limits { deadline: Instant::now() + TIME, body: ANSWER, keep: false };
            let called = net.call_as(identity.as_deref(), is_grpc(&head), &target, &head, body, limits).await;
            if let Err(error) = called {
                tracing::debug!(backend = %target.backend, %error, "mirror");
            }
        });
        if sender.is_none() {
            cluster.stats.mirrored(true);
        }
        let (own, all) = (Arc::default(), self.waiting.clone());
        sender.map(|sender| MirrorBody { sender: Some(sender), own, all, cluster, task: task.abort_handle() })
    }
}

/// Takes the body of a copied request. Dropping it without [`MirrorBody::finish`] breaks the copy off.
#[derive(Debug)]
pub struct MirrorBody {
    /// `None` once the copy is dropped.
    sender: Option<BodySender>,
    own: Arc<AtomicUsize>,
    all: Arc<AtomicUsize>,
    cluster: Arc<Cluster>,
    task: AbortHandle,
}

impl MirrorBody {
    /// Hands a piece on if there is room; a copy that cannot keep up is dropped. Never waits.
    pub fn push(&mut self, bytes: Bytes) {
        let Some(sender) = &self.sender else { return };
        let charge = Charge::take([(&self.own, WAITING), (&self.all, ALL_WAITING)], bytes.len());
        if !charge.is_some_and(|charge| sender.try_send(bytes, charge)) {
            self.break_off();
            self.cluster.stats.mirrored(false);
        }
    }

    /// The body is complete.
    pub fn finish(mut self) {
        if let Some(sender) = self.sender.take() {
            sender.try_finish();
            self.cluster.stats.mirrored(true);
        }
    }

    /// Ends the copy now, though it may be waiting to write: the backend sees a body without end.
    fn break_off(&mut self) {
        if self.sender.take().is_some() {
            self.task.abort();
        }
    }
}

impl Drop for MirrorBody {
    fn drop(&mut self) {
        self.break_off();
    }
}
