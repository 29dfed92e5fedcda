//! The Lease object, and the loop that campaigns for it.

use std::sync::Arc;
use std::time::Duration;

use config::xds::Hub;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::{Action, Elector, LEASE, Leads, RETRY, Record};
use crate::cluster::metrics::Metrics;
use crate::cluster::write;

/// Longest wait for one answer of the API server: shorter than what a deadline leaves.
const PATIENCE: Duration = Duration::from_secs(2);

/// See the module.
pub(crate) struct Campaign {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) identity: String,
    pub(crate) leads: watch::Sender<Leads>,
    pub(crate) hub: Hub,
    pub(crate) metrics: Arc<Metrics>,
}

impl Campaign {
    /// Campaigns until `end` says true, then hands over.
    pub(crate) async fn run(self, mut end: watch::Receiver<bool>) {
        let api: Api<Lease> = Api::namespaced(self.client.clone(), &self.namespace);
        let mut elector = Elector::new(self.identity.clone());
        while !*end.borrow_and_update() {
            let step = timeout(PATIENCE * 2, self.step(&api, &mut elector)).await;
            if let Ok(Err(error)) = step {
                tracing::warn!(
                    error = write::message(&error),
                    lease = self.name,
                    "the Lease cannot be read or written"
                );
            }
            let now = Instant::now();
            self.say(elector.leads(now));
            // All proxies come to the leader, who writes what they answer. Without one, everybody serves.
            self.hub.set_open(!elector.follows(now));
            tokio::select! {
                () = sleep(RETRY.mul_f64(0.9 + 0.2 * crate::cluster::random_unit())) => {}
                _ = end.changed() => {}
            }
        }
        self.say(Leads::No);
        if elector.leads(Instant::now()).now() {
            self.release(&api).await;
        }
    }

    fn say(&self, leads: Leads) {
        self.metrics.leader.set(i64::from(leads.now()));
        self.leads.send_if_modified(|old| {
            let is_new = old.now() != leads.now();
            *old = leads;
            if is_new {
                tracing::info!(
                    identity = self.identity,
                    "{}",
                    if leads.now() { "leads" } else { "leads no longer" }
                );
            }
            is_new
        });
    }

    async fn step(&self, api: &Api<Lease>, elector: &mut Elector) -> Result<(), kube::Error> {
        let lease = match api.get_opt(&self.name).await? {
            Some(lease) => lease,
            None => {
                let mut lease = Lease::default();
                lease.metadata.name = Some(self.name.clone());
                match api.create(&PostParams::default(), &lease).await {
                    Ok(lease) => lease,
                    Err(kube::Error::Api(status)) if status.code == 409 => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
        };
        let begun = Instant::now();
        let record = record(&lease);
        elector.observe(record.clone(), begun);
        let is_take = match elector.decide(begun) {
            Action::Wait => return Ok(()),
            Action::Take => true,
            Action::Renew => false,
        };
        let lease = self.written(lease, &record, is_take);
        // It carries the resourceVersion it was read with: a write in between is a conflict.
        match api.replace(&self.name, &PostParams::default(), &lease).await {
            Ok(lease) => elector.wrote(self::record(&lease), begun),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn written(&self, mut lease: Lease, record: &Record, is_take: bool) -> Lease {
        let now = MicroTime(Timestamp::now());
        let is_new = record.holder != self.identity;
        let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
        spec.holder_identity = Some(self.identity.clone());
        spec.lease_duration_seconds = i32::try_from(LEASE.as_secs()).ok();
        spec.renew_time = Some(now.clone());
        if is_take {
            spec.acquire_time = Some(now);
            spec.lease_transitions = Some(record.transitions + i32::from(is_new));
        }
        lease
    }

    /// Lets another take over at once.
    async fn release(&self, api: &Api<Lease>) {
        let done = timeout(PATIENCE, async {
            let Some(mut lease) = api.get_opt(&self.name).await? else { return Ok(()) };
            let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
            if spec.holder_identity.as_deref() != Some(&self.identity) {
                return Ok(());
            }
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(MicroTime(Timestamp::now()));
            api.replace(&self.name, &PostParams::default(), &lease).await.map(drop)
        });
        match done.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(error = write::message(&error), "the Lease cannot be released"),
            Err(_) => tracing::warn!("the Lease cannot be released in time"),
        }
    }
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    Record {
        holder: spec.holder_identity.unwrap_or_default(),
        duration: seconds.map_or(LEASE, Duration::from_secs),
        renewal: spec.renew_time.map(|time| time.0.to_string()).unwrap_or_default(),
        transitions: spec.lease_transitions.unwrap_or_default(),
    }
}
