//! The control loop: from a changed file to served configuration and the statuses that follow.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use config::source::Publisher;
use config::{Rejection, Update};
use controller::local::{self, IdleParameters};
use controller::manifests::{Finding, Loader, Reload};
use controller::{Options, Resources, Statuses, Translator, program};
use proxy::admin;
use tokio::time::Instant;

use super::demo::Pods;
use super::quota::Quotas;
use super::report::{self, Flip};
use super::rollouts::{Rollouts, Turn};
use super::show;
use super::split::Splitter;
use super::watch::Changed;
use crate::certificates::Authority;
use crate::output;

/// A proxy answers in milliseconds; one that takes this long hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// The two proxies as the control loop sees them, in the order of [`super::split::Role::ALL`].
pub(crate) type Roles = [Live; 2];

/// A running proxy.
pub(crate) struct Live {
    pub(crate) publisher: Publisher,
    pub(crate) status: Arc<admin::Status>,
    /// All there are now.
    rejections: Vec<Rejection>,
}

impl Live {
    pub(crate) fn new(publisher: Publisher, status: Arc<admin::Status>) -> Self {
        Self { publisher, status, rejections: Vec::new() }
    }

    async fn tell(&mut self, update: Update) -> anyhow::Result<()> {
        self.publisher.updates.send(update).await.ok().context("a proxy has ended")
    }

    async fn hear(&mut self, version: u64) -> anyhow::Result<()> {
        loop {
            let answer = tokio::time::timeout(PATIENCE, self.publisher.answers.recv()).await;
            let Ok(answer) = answer else {
                bail!("the {} does not answer; what it served last serves on", self.status.role());
            };
            let answer = answer.context("a proxy has ended")?;
            self.status.applied(answer.version, &answer.rejections);
            self.rejections = answer.rejections;
            // A late answer to a change that was given up.
            if answer.version >= version {
                return Ok(());
            }
        }
    }
}

/// Owns everything between the files and the proxies.
pub(crate) struct Control {
    loader: Loader,
    authority: Authority,
    pods: Pods,
    translator: Translator,
    splitter: Splitter,
    roles: Roles,
    quotas: Quotas,
    rollouts: Rollouts,
    /// What was translated last.
    resources: Resources,
    version: u64,
    served: config::Resources,
    statuses: Statuses,
    broken: Vec<Finding>,
    /// FairwayProxies, which are told once.
    idle: Vec<IdleParameters>,
}

impl Control {
    pub(crate) fn new(
        loader: Loader,
        authority: Authority,
        pods: Pods,
        options: Options,
        roles: Roles,
        (quotas, rollouts): (Quotas, Rollouts),
    ) -> Self {
        Self {
            loader,
            authority,
            pods,
            translator: Translator::new(options),
            splitter: Splitter::default(),
            roles,
            quotas,
            rollouts,
            resources: Resources::default(),
            version: 0,
            served: config::Resources::new(),
            statuses: Statuses::default(),
            broken: Vec::new(),
            idle: Vec::new(),
        }
    }

    /// Serves what the files say, for the first time, and tells what that is.
    pub(crate) async fn start(&mut self, ca: &str) -> anyhow::Result<()> {
        self.publish().await?;
        self.broken = self.loader.findings();
        output::line(&show::overview(&self.served, &self.statuses, ca));
        let ignored = self.loader.ignored();
        if !ignored.is_empty() {
            let names: Vec<String> = ignored.iter().map(|(_, one)| one.object.clone()).collect();
            output::line(&format!("left to others: {}", crate::table::short(&names, 6)));
        }
        for finding in &self.broken {
            output::line(&report::refused(finding));
        }
        self.tell_idle();
        Ok(())
    }

    fn tell_idle(&mut self) {
        let idle = local::idle_parameters(&self.loader.objects());
        for parameters in idle.iter().filter(|parameters| !self.idle.contains(parameters)) {
            output::line(&report::idle(parameters));
        }
        self.idle = idle;
    }

    /// Applies a change and tells what it did.
    pub(crate) async fn apply(&mut self, changed: Changed) -> anyhow::Result<()> {
        let started = Instant::now();
        let reload = match changed {
            Changed::Files(files) => self.loader.reload(&files),
            Changed::Anything => self.loader.reload_all(),
        };
        if !reload.changes.is_empty() {
            let flips = self.publish().await?;
            output::line(&report::changed(self.version, started.elapsed(), &reload.changes, &flips));
            self.tell_idle();
        }
        self.tell_findings(&reload);
        Ok(())
    }

    /// Looks at Rollouts, serves the weights that follow, and tells what happened.
    pub(crate) async fn roll(&mut self) -> anyhow::Result<()> {
        let Turn { events, is_moved } = self.rollouts.turn(&self.resources, &self.statuses, &self.served);
        if is_moved {
            self.publish().await?;
        }
        for (object, event) in &events {
            output::line(&format!("{object}: {}", event.message));
        }
        Ok(())
    }

    fn tell_findings(&mut self, reload: &Reload) {
        for finding in &reload.findings {
            output::line(&report::refused(finding));
        }
        let now = self.loader.findings();
        let mut healed: Vec<_> = self.broken.iter().map(|finding| finding.file.clone()).collect();
        healed.retain(|file| now.iter().all(|finding| finding.file != *file));
        healed.dedup();
        for file in healed {
            output::line(&format!("good again: {}", file.display()));
        }
        self.broken = now;
    }

    async fn publish(&mut self) -> anyhow::Result<Vec<Flip>> {
        let mut objects = self.loader.objects();
        self.authority.fill(&mut objects).context("self-made certificates")?;
        self.pods.sync(&mut objects).context("cannot start demo pods")?;
        self.rollouts.fill(&mut objects);
        self.resources = Resources::collect(objects);
        let translation = self.translator.translate(&self.resources);
        self.version += 1;
        let update = Update::between(self.version, &self.served, &translation.resources);
        let parts = self.splitter.split(&update, &translation.resources);
        let is_first = self.version == 1;
        let told: Vec<bool> = parts.iter().map(|part| is_first || !part.is_empty()).collect();
        // Before anybody asks for a share.
        self.quotas.apply(&update);
        // Both work at the same time.
        for ((role, part), _) in self.roles.iter_mut().zip(parts).zip(&told).filter(|(_, told)| **told) {
            role.tell(part).await?;
        }
        for (role, _) in self.roles.iter_mut().zip(&told).filter(|(_, told)| **told) {
            role.hear(self.version).await?;
        }
        self.pods.settle();
        let rejections: Vec<Rejection> = self.roles.iter().flat_map(|role| role.rejections.clone()).collect();
        let statuses = program(&translation, &rejections, true);
        let flips = report::flips(&self.statuses, &statuses);
        self.served = translation.resources;
        self.statuses = statuses;
        Ok(flips)
    }

    /// The process takes no new connections any more.
    pub(crate) fn draining(&self) {
        self.roles.iter().for_each(|role| role.status.draining());
    }
}
