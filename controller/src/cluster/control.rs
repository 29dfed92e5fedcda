//! From changed objects to published configuration: one translation in flight, the latest state wins.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use config::Generation;
use config::xds::Hub;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use super::metrics::Metrics;
use super::references::References;
use super::state::State;
use super::watch::KINDS;
use crate::{Options, Resources, Translation, Translator};

/// What was published, for everyone who follows.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) resources: Resources,
    pub(crate) translation: Translation,
    pub(crate) generation: Generation,
}

/// See the module.
pub(crate) struct Control {
    pub(crate) state: Arc<State>,
    pub(crate) references: References,
    pub(crate) hub: Hub,
    pub(crate) views: watch::Sender<Option<Arc<View>>>,
    /// Namespaces with something that is referred to.
    pub(crate) namespaces: watch::Sender<BTreeSet<String>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) epoch: u64,
    pub(crate) options: Options,
}

/// How long the first translation waits for Secrets and ConfigMaps: what is missing from it is taken from proxies.
const FIRST_PATIENCE: Duration = Duration::from_secs(3);
/// How long later ones do. Everything else waits with them, so it is short.
const PATIENCE: Duration = Duration::from_millis(250);

impl Control {
    /// Translates and publishes until the future is dropped.
    pub(crate) async fn run(mut self) {
        let options = self.options.clone();
        let fresh = || Translator::new(options.clone());
        let mut translator = fresh();
        let mut tick = interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let state = Arc::clone(&self.state);
            tokio::select! {
                () = state.changed.notified() => {}
                _ = tick.tick() => {
                    self.advance();
                    continue;
                }
            }
            if !self.state.missing(KINDS.iter().map(|kind| kind.kind)).is_empty() {
                continue;
            }
            let Some((resources, revision)) = self.settle().await else { continue };
            let started = Instant::now();
            // Full translations of large clusters take long enough to hold up a thread that others share.
            let done = tokio::task::spawn_blocking(move || {
                let translation = translator.translate(&resources);
                (translator, resources, translation)
            });
            // The task is never aborted, and a panic in it is a defect that must not go on silently.
            let Ok((back, resources, translation)) = done.await else {
                tracing::error!("the translator has failed; what was published last stands");
                translator = fresh();
                continue;
            };
            translator = back;
            self.metrics.translations.observe(started.elapsed().as_secs_f64());
            self.publish(resources, translation, revision);
        }
    }

    /// The objects of now, once everything they refer to has been heard of or patience has ended.
    async fn settle(&mut self) -> Option<(Resources, u64)> {
        let (mut resources, mut revision) = self.state.take()?;
        let is_first = self.views.borrow().is_none();
        let deadline = Instant::now() + if is_first { FIRST_PATIENCE } else { PATIENCE };
        loop {
            if let Some(namespaces) = self.references.follow(&resources) {
                self.namespaces.send_if_modified(|old| {
                    let is_new = *old != namespaces;
                    *old = namespaces;
                    is_new
                });
            }
            if !self.references.is_pending() {
                break;
            }
            if timeout_at(deadline, self.state.changed.notified()).await.is_err() {
                self.references.give_up();
                break;
            }
            if let Some(newer) = self.state.take() {
                (resources, revision) = newer;
            }
        }
        // What came with the last of them.
        Some(self.state.take().unwrap_or((resources, revision)))
    }

    fn publish(&self, resources: Resources, translation: Translation, revision: u64) {
        let generation = Generation::new(self.epoch, revision);
        self.hub.publish(generation, translation.resources.clone());
        self.metrics.resources.set(i64::try_from(translation.resources.len()).unwrap_or(i64::MAX));
        self.metrics.generation.set(revision);
        for (kind, count) in self.state.counts() {
            self.metrics.objects.get_or_create(&kind.into()).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.views.send_replace(Some(Arc::new(View { resources, translation, generation })));
    }

    /// Says that what is published holds for a newer revision too, so that proxies of a replica that has seen more
    /// do not wait for us.
    fn advance(&self) {
        let Some(revision) = self.state.clean_revision() else { return };
        let Some(view) = self.views.borrow().clone() else { return };
        if revision > self.metrics.generation.get().max(view.generation.revision) {
            self.metrics.generation.set(revision);
            self.hub.publish(Generation::new(self.epoch, revision), view.translation.resources.clone());
        }
    }
}
