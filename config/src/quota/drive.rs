//! A proxy's end of the stream: drives a [`Client`] over whatever leads to a quota server.
//!
//! Requests never wait for it. Without a stream shares last until they end; connecting is tried again after a random time that
//! grows with each failure (full jitter).

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use policies::lease::Table;
use policies::rate_limit::nanos;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};

use super::proto::{Reports, Response};
use super::serve::{Quotas, Session};
use super::{Client, ClientCounts, ClientOptions};
use crate::backoff::Backoff;
use crate::identity::ProxyId;

/// How often the client is looked at.
const TICK: Duration = Duration::from_millis(20);
/// How often limits that are not used any more are looked for.
const SWEEP: Duration = Duration::from_secs(1);
/// Without a stream for so long, tables do without.
const PATIENCE: Duration = Duration::from_secs(10);
/// First and longest wait between tries.
const BASE: Duration = Duration::from_millis(100);
const CAP: Duration = Duration::from_secs(5);
/// How long the last message may take to leave.
const FAREWELL: Duration = Duration::from_millis(500);

/// The tables of a proxy, by the names of their limits.
pub type Tables = BTreeMap<Arc<str>, Arc<Table>>;

/// Leads to a quota server.
#[async_trait]
pub trait Way: Send + Sync + fmt::Debug + 'static {
    /// Opens a stream. It may take as long as it takes.
    ///
    /// # Errors
    /// Why there is none, for people.
    async fn open(&self) -> Result<Line, String>;
}

/// A stream.
#[derive(Debug)]
pub struct Line {
    /// To the server; has room for some.
    pub reports: mpsc::Sender<Reports>,
    /// From the server; the last may say why it ended.
    pub responses: mpsc::Receiver<Result<Response, String>>,
}

/// How a proxy and its quota server get on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuotaState {
    /// There is a way to a quota server; without one each proxy has an equal part of one, which is all.
    pub has_server: bool,
    /// A stream is open.
    pub is_connected: bool,
    /// There has been none for so long that limits do without.
    pub is_lost: bool,
    /// Why there is none.
    pub problem: Option<String>,
    /// Streams opened.
    pub streams: u64,
    /// Messages of the server.
    pub received: u64,
    /// What the client has done.
    pub client: ClientCounts,
    /// Buckets it reports.
    pub watched: usize,
}

/// What a driver needs.
pub struct Driver {
    /// `None`: there is no quota server.
    pub way: Option<Arc<dyn Way>>,
    /// The tables there are.
    pub tables: Box<dyn Fn() -> Tables + Send + Sync>,
    /// Changes with the tables; what is gone may be found later.
    pub changed: watch::Receiver<u64>,
    /// The clock of the tables.
    pub clock: fn() -> Duration,
    /// Where it says how it goes.
    pub state: watch::Sender<QuotaState>,
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("way", &self.way).finish_non_exhaustive()
    }
}

type Opening = Pin<Box<dyn Future<Output = Result<Line, String>> + Send>>;

/// A driver at work.
struct Work {
    driver: Driver,
    client: Client,
    /// What it looks after.
    tables: Tables,
    backoff: Backoff,
    line: Option<Line>,
    opening: Option<Opening>,
    /// Since when there has been no stream.
    alone_since: Option<Instant>,
}

impl Driver {
    /// Drives until `end` says so, or is gone; then gives back what is leased.
    pub async fn run(self, end: oneshot::Receiver<oneshot::Sender<()>>) {
        let has_server = self.way.is_some();
        self.state.send_modify(|state| state.has_server = has_server);
        let work = Work {
            client: Client::new(ClientOptions::default()),
            tables: Tables::new(),
            backoff: Backoff::new(BASE, CAP),
            line: None,
            opening: None,
            alone_since: None,
            driver: self,
        };
        work.run(end).await;
    }
}

impl Work {
    async fn run(mut self, mut end: oneshot::Receiver<oneshot::Sender<()>>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut is_told, has_server) = (true, self.driver.way.is_some());
        loop {
            // Without limits there is nothing to look at.
            let is_idle = self.client.is_idle();
            tokio::select! {
                biased;
                done = &mut end => {
                    self.leave().await;
                    if let Ok(done) = done {
                        _ = done.send(());
                    }
                    return;
                }
                changed = self.driver.changed.changed(), if is_told => {
                    is_told = changed.is_ok();
                    self.look_after();
                }
                response = hear(&mut self.line) => self.heard(response),
                opened = open(&mut self.opening) => self.opened(opened),
                _ = sweep.tick() => {
                    self.look_after();
                    self.tell();
                    self.forget();
                }
                _ = tick.tick(), if !is_idle && has_server => self.poll(),
            }
        }
    }

    fn now(&self) -> u64 {
        nanos((self.driver.clock)())
    }

    fn look_after(&mut self) {
        let (now, tables) = (self.now(), (self.driver.tables)());
        // It costs a look at each bucket.
        if !are_same(&self.tables, &tables) {
            self.tables.clone_from(&tables);
            self.client.look_after(now, tables);
        }
        if self.client.is_idle() {
            // Nothing is limited, so nobody needs to hear of it.
            (self.line, self.opening, self.alone_since) = (None, None, None);
            self.client.closed();
            return;
        }
        if self.line.is_none() && self.opening.is_none() {
            self.alone_since.get_or_insert_with(Instant::now);
            self.try_again(Duration::ZERO);
        }
        let is_lost = match (&self.driver.way, self.alone_since) {
            (None, _) => true,
            (Some(_), Some(since)) => since.elapsed() >= PATIENCE,
            (Some(_), None) => false,
        };
        self.client.lost(now, is_lost);
        self.driver.state.send_if_modified(|state| std::mem::replace(&mut state.is_lost, is_lost) != is_lost);
    }

    fn try_again(&mut self, wait: Duration) {
        let Some(way) = self.driver.way.clone() else { return };
        self.opening = Some(Box::pin(async move {
            tokio::time::sleep(wait).await;
            way.open().await
        }));
    }

    fn opened(&mut self, opened: Result<Line, String>) {
        self.opening = None;
        match opened {
            Ok(line) => {
                (self.line, self.alone_since) = (Some(line), None);
                let now = self.now();
                self.client.opened(now);
                self.client.lost(now, false);
                self.driver.state.send_modify(|state| {
                    (state.is_connected, state.is_lost, state.problem) = (true, false, None);
                    state.streams += 1;
                });
                tracing::info!("connected to the quota server");
            }
            Err(problem) => self.lost(problem),
        }
    }

    fn heard(&mut self, response: Option<Result<Response, String>>) {
        match response {
            Some(Ok(response)) => {
                self.backoff.reset();
                let now = self.now();
                self.client.apply(now, &response);
                self.driver.state.send_modify(|state| state.received += 1);
                // Somebody may be waiting for what it acknowledges.
                self.poll();
            }
            Some(Err(problem)) => self.lost(problem),
            None => self.lost("the quota server ended the stream".to_owned()),
        }
    }

    fn lost(&mut self, problem: String) {
        self.line = None;
        self.client.closed();
        self.alone_since.get_or_insert_with(Instant::now);
        let wait = self.backoff.next();
        self.driver.state.send_modify(|state| {
            // The same again is not worth a line each time.
            if state.is_connected || state.problem.as_ref() != Some(&problem) {
                tracing::warn!(?wait, "no quota server, shares are used as they are: {problem}");
            }
            (state.is_connected, state.problem) = (false, Some(problem));
        });
        self.try_again(wait);
    }

    fn poll(&mut self) {
        let now = self.now();
        let Some(reports) = self.client.poll(now) else { return };
        let Some(line) = &self.line else { return };
        if line.reports.try_send(reports).is_err() {
            // What could not be sent is lost, and a new stream begins by telling how everything stands.
            self.lost("the quota server takes no messages".to_owned());
        }
    }

    fn tell(&self) {
        let (client, watched) = (self.client.counts(), self.client.watched());
        self.driver.state.send_if_modified(|state| {
            let is_new = state.client != client || state.watched != watched;
            (state.client, state.watched) = (client, watched);
            is_new
        });
    }

    /// Without a server there is nobody to report to; tables forget all the same.
    fn forget(&mut self) {
        if self.driver.way.is_none() {
            let now = self.now();
            for table in self.tables.values() {
                table.sweep(now);
                drop(table.attention());
            }
        }
    }

    /// Gives everything back.
    async fn leave(&mut self) {
        let now = self.now();
        self.client.leave(now);
        while let (Some(line), Some(reports)) = (&self.line, self.client.poll(now)) {
            if tokio::time::timeout(FAREWELL, line.reports.send(reports)).await.is_err() {
                break;
            }
        }
        if let Some(Line { reports, responses }) = self.line.take() {
            // The stream ends once what was sent is gone; whoever carries it drops its end then.
            drop(reports);
            _ = tokio::time::timeout(FAREWELL, drained(responses)).await;
        }
        self.tell();
    }
}

fn are_same(old: &Tables, new: &Tables) -> bool {
    let mut pairs = old.iter().zip(new);
    old.len() == new.len() && pairs.all(|(old, new)| old.0 == new.0 && Arc::ptr_eq(old.1, new.1))
}

async fn drained(mut responses: mpsc::Receiver<Result<Response, String>>) {
    while responses.recv().await.is_some() {}
}

async fn hear(line: &mut Option<Line>) -> Option<Result<Response, String>> {
    match line {
        Some(line) => line.responses.recv().await,
        None => std::future::pending().await,
    }
}

async fn open(opening: &mut Option<Opening>) -> Result<Line, String> {
    match opening {
        Some(opening) => opening.await,
        None => std::future::pending().await,
    }
}

/// The way to a quota server in this process.
#[derive(Debug, Clone)]
pub struct Here {
    /// It.
    pub quotas: Quotas,
    /// Who goes.
    pub proxy: ProxyId,
}

#[async_trait]
impl Way for Here {
    async fn open(&self) -> Result<Line, String> {
        let session = self.quotas.connect(&self.proxy).map_err(|refused| refused.to_string())?;
        let (reports, sent) = mpsc::channel(16);
        let (told, responses) = mpsc::channel(16);
        tokio::spawn(carry(session, sent, told));
        Ok(Line { reports, responses })
    }
}

async fn carry(
    mut session: Session,
    mut sent: mpsc::Receiver<Reports>,
    told: mpsc::Sender<Result<Response, String>>,
) {
    loop {
        tokio::select! {
            reports = sent.recv() => {
                let Some(reports) = reports else { return };
                if let Err(refused) = session.report(&reports) {
                    _ = told.send(Err(refused.to_string())).await;
                    return;
                }
            }
            response = session.responses.recv() => {
                let Some(response) = response else { return };
                if told.send(Ok(response)).await.is_err() {
                    return;
                }
            }
        }
    }
}
