//! Watches: one task per kind, and one per namespace for kinds that are read only where something refers to them.
//!
//! A kind whose CRD is not installed counts as empty, and is looked for again with growing pauses and whenever the
//! CRDs change.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, future::BoxFuture};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use tokio::sync::watch::Receiver;

use super::metrics::Metrics;
use super::state::State;
use super::watched::{Watchable, Watched};
use crate::{ObjectKey, ObjectKind, api};

/// What a watch works with.
#[derive(Clone)]
pub(crate) struct Watching {
    pub(crate) client: Client,
    pub(crate) state: Arc<State>,
    pub(crate) metrics: Arc<Metrics>,
    /// Changes whenever a CRD does.
    pub(crate) crds: Receiver<u64>,
}

/// A kind that is watched in the whole cluster.
pub(crate) struct Kind {
    pub(crate) kind: ObjectKind,
    /// As RBAC names it: group and plural.
    pub(crate) resource: fn() -> (String, String),
    run: fn(Watching) -> BoxFuture<'static, ()>,
}

impl Kind {
    const fn of<T: Watchable>() -> Self {
        Self { kind: T::KIND, resource: names::<T>, run: |watching| Box::pin(all::<T>(watching)) }
    }

    /// Watches until the process ends.
    pub(crate) fn spawn(&self, watching: &Watching) {
        tokio::spawn((self.run)(watching.clone()));
    }
}

/// The kinds that are watched in the whole cluster. Secrets and ConfigMaps are not: see [`super::references`].
pub(crate) const KINDS: &[Kind] = &[
    Kind::of::<api::GatewayClass>(),
    Kind::of::<api::Gateway>(),
    Kind::of::<api::ListenerSet>(),
    Kind::of::<api::HttpRoute>(),
    Kind::of::<api::GrpcRoute>(),
    Kind::of::<api::TlsRoute>(),
    Kind::of::<api::TcpRoute>(),
    Kind::of::<api::UdpRoute>(),
    Kind::of::<api::ReferenceGrant>(),
    Kind::of::<api::BackendTlsPolicy>(),
    Kind::of::<api::ClientTrafficPolicy>(),
    Kind::of::<api::BackendTrafficPolicy>(),
    Kind::of::<api::SecurityPolicy>(),
    Kind::of::<api::FairwayProxy>(),
    Kind::of::<api::Rollout>(),
    Kind::of::<api::Service>(),
    Kind::of::<api::EndpointSlice>(),
    Kind::of::<api::Pod>(),
    Kind::of::<api::NetworkPolicy>(),
    Kind::of::<api::Namespace>(),
];

fn names<T: Watchable>() -> (String, String) {
    (T::group(&()).into_owned(), T::plural(&()).into_owned())
}

async fn all<T: Watchable>(watching: Watching) {
    let api: Api<Watched<T>> = Api::all(watching.client.clone());
    let mut stream = Box::pin(kube::runtime::watcher(api, watcher::Config::default()));
    let mut pause = Pause::default();
    let mut crds = watching.crds.clone();
    crds.mark_unchanged();
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => {
                pause = Pause::default();
                take(&watching, event);
            }
            Err(error) => {
                if is_missing(&error) {
                    watching.state.absent(T::KIND);
                } else {
                    tell(&watching, T::KIND, &error, pause.is_new());
                }
                tokio::select! {
                    () = tokio::time::sleep(pause.after(status_code(&error))) => {}
                    Ok(()) = crds.changed() => pause = Pause::default(),
                }
            }
        }
    }
}

fn take<T: Watchable>(watching: &Watching, event: Event<Watched<T>>) {
    let state = &watching.state;
    watching.metrics.events.get_or_create(&T::KIND.into()).inc();
    match event {
        Event::Init => state.begin(T::KIND),
        Event::InitDone => state.complete(T::KIND),
        Event::InitApply(object) | Event::Apply(object) => {
            if let Some((key, why)) = state.apply(object) {
                watching.metrics.undecodable.get_or_create(&T::KIND.into()).inc();
                tracing::error!(
                    object = %key, why = &*why,
                    "an object cannot be read, and what it last said stands: correct it, or update Fairway"
                );
            }
        }
        Event::Delete(object) => {
            let (namespace, name) =
                (object.meta.namespace.unwrap_or_default(), object.meta.name.unwrap_or_default());
            let version = object.meta.resource_version.unwrap_or_default();
            state.delete(&ObjectKey::new(T::KIND, namespace, name), &version);
        }
    }
}

/// `is_first`: it did not fail just before. That nobody answers is said once.
fn tell(watching: &Watching, kind: ObjectKind, error: &watcher::Error, is_first: bool) {
    watching.metrics.watch_errors.get_or_create(&kind.into()).inc();
    // A watch that is too old is part of normal life.
    let is_old = status_code(error) == Some(410);
    if !is_old && (is_first || status_code(error).is_some()) {
        let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        tracing::warn!(kind = kind.as_str(), %error, source, "a watch failed and is started again");
    }
}

/// Whether the cluster does not know the kind.
fn is_missing(error: &watcher::Error) -> bool {
    status_code(error) == Some(404)
}

pub(crate) fn status_code(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => answered(error),
        watcher::Error::WatchError(status) => Some(status.code),
        watcher::Error::NoResourceVersion => None,
    }
}

/// The status of an answer that says no.
pub(crate) fn answered(error: &kube::Error) -> Option<u16> {
    if let kube::Error::Api(status) = error { Some(status.code) } else { None }
}

/// Watches the CRDs themselves, only their names and versions, and counts their changes.
pub(crate) async fn crds(client: Client, changes: tokio::sync::watch::Sender<u64>, versions: Arc<Versions>) {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition as Crd;
    use kube::core::PartialObjectMeta;
    let config = watcher::Config::default();
    let mut stream = Box::pin(kube::runtime::watcher(Api::<PartialObjectMeta<Crd>>::all(client), config));
    let mut pause = Pause::default();
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Apply(crd) | Event::InitApply(crd)) => {
                pause = Pause::default();
                if versions.note(&crd.metadata) {
                    changes.send_modify(|count| *count += 1);
                }
            }
            Ok(Event::Delete(crd)) => {
                versions.forget(&crd.metadata);
                changes.send_modify(|count| *count += 1);
            }
            Ok(Event::Init | Event::InitDone) => {}
            Err(error) => {
                if pause.is_new() || status_code(&error).is_some() {
                    tracing::warn!(%error, "the watch of CRDs failed and is started again");
                }
                tokio::time::sleep(pause.after(status_code(&error))).await;
            }
        }
    }
}

/// The bundle version of each CRD of Gateway API.
#[derive(Debug, Default)]
pub(crate) struct Versions(parking_lot::Mutex<std::collections::BTreeMap<String, String>>);

/// On each CRD of Gateway API.
pub(crate) const BUNDLE_VERSION: &str = "gateway.networking.k8s.io/bundle-version";

impl Versions {
    fn note(&self, meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> bool {
        let Some(name) = &meta.name else { return false };
        let version = meta.annotations.as_ref().and_then(|annotations| annotations.get(BUNDLE_VERSION));
        let is_ours = name.ends_with(".gateway.networking.k8s.io")
            || name.ends_with(".gateway.networking.x-k8s.io")
            || name.ends_with(".fairway.dev");
        if let Some(version) = version {
            self.0.lock().insert(name.clone(), version.clone());
        }
        is_ours
    }

    fn forget(&self, meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) {
        if let Some(name) = &meta.name {
            self.0.lock().remove(name);
        }
    }

    /// The versions there are, each once.
    pub(crate) fn all(&self) -> std::collections::BTreeSet<String> {
        self.0.lock().values().cloned().collect()
    }
}

/// Growing pauses: from 100 ms, doubling, each shortened by up to half so that replicas do not meet.
#[derive(Debug, Default)]
pub(crate) struct Pause(u32);

impl Pause {
    /// After answers that will not be others soon.
    const LONGEST: Duration = Duration::from_secs(30);
    /// Where nobody answers: trying costs the API server nothing, and once it is back nothing is told before the next try.
    const UNANSWERED: Duration = Duration::from_secs(4);

    /// Whether nothing has failed since it began.
    const fn is_new(&self) -> bool {
        self.0 == 0
    }

    /// Whether it has become noticeable.
    pub(crate) const fn is_long(&self) -> bool {
        self.0 > 5
    }

    /// How long to wait before asking again whoever answered with that status; `None`: with nothing.
    pub(crate) fn after(&mut self, status: Option<u16>) -> Duration {
        let most = if status.is_some() { Self::LONGEST } else { Self::UNANSWERED };
        let full = Duration::from_millis(100).saturating_mul(1 << self.0.min(9)).min(most);
        self.0 += 1;
        full.mul_f64(0.5 + 0.5 * super::random_unit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_answer_is_asked_again_within_seconds_and_who_refuses_is_left_alone_for_longer() {
        for (status, most) in [(None, 4), (Some(403), 30)] {
            let mut pause = Pause::default();
            assert!(pause.after(status) <= Duration::from_millis(100));
            let later = (0..20).map(|_| pause.after(status)).last().unwrap_or_default();
            let most = Duration::from_secs(most);
            assert!(pause.is_long() && later <= most && later >= most / 2, "{later:?}");
        }
    }
}
