//! What a quota server does all the time: it divides, keeps, tells.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::time::Instant;

use super::{Quotas, SOON, State, epoch};
use crate::quota::keep::{self, BATCH, Clock, Field, Keeper, Kept};
use crate::quota::memory::Name;
use crate::quota::proto::Response;

/// Where nothing is to be done before something happens.
const IDLE: Duration = Duration::from_secs(60);
/// What is kept is written so often at least, with what nobody has to be told of.
const BEAT: Duration = Duration::from_secs(1);
/// Between two tries while nothing can be written.
const RETRY: Duration = Duration::from_millis(100);

/// A message, and the stream that it is for.
struct Message {
    client: Arc<str>,
    stream: u64,
    response: Response,
}

/// What a leader keeps.
struct Keeping<'v> {
    keeper: Keeper<'v>,
    /// What is told when these are written.
    messages: Vec<Message>,
    names: BTreeSet<Name>,
    beat: Instant,
}

impl Quotas {
    /// Sends what is to be sent until the future is dropped.
    pub async fn run(self) {
        let mut keeping: Option<Keeping<'_>> = None;
        loop {
            if let (Some(redis), Some(term)) = (&self.0.kept, self.awaited()) {
                let mut keeper = Keeper::new(redis, name());
                let left = keeper.claim().await;
                self.begin(term, |server, now| server.resume(now, left));
                let (messages, names) = (Vec::new(), BTreeSet::new());
                keeping = Some(Keeping { keeper, messages, names, beat: Instant::now() });
            }
            let next = match &mut keeping {
                Some(keeping) => keeping.turn(&self).await,
                None => {
                    let (messages, next) = self.divide();
                    self.send(messages);
                    next
                }
            };
            tokio::select! {
                () = self.0.wake.notified() => {}
                () = tokio::time::sleep(next) => {}
            }
        }
    }

    /// The term that has no server yet.
    fn awaited(&self) -> Option<u64> {
        let state = self.0.state.lock();
        (state.leads && state.server.is_none()).then_some(state.term)
    }

    /// Does what is due; returns what is to be told, and how long nothing will be.
    fn divide(&self) -> (Vec<Message>, Duration) {
        let now = self.now();
        let mut state = self.0.state.lock();
        self.tell_crowds(&mut state);
        let State { server: Some(server), is_moved, .. } = &mut *state else { return (Vec::new(), IDLE) };
        let responses = server.poll(now);
        let next = Duration::from_nanos(server.next().saturating_sub(now)).max(Duration::from_millis(1));
        let next = if *is_moved { next.min(SOON) } else { next };
        (state.messages(responses), next)
    }

    /// While messages wait: what needs not wait with them.
    fn divide_nothing(&self, waiting: &[Message]) -> Vec<Message> {
        let now = self.now();
        let mut state = self.0.state.lock();
        self.tell_crowds(&mut state);
        let Some(server) = &mut state.server else { return Vec::new() };
        let responses =
            server.poll_crowds(now, &|client| waiting.iter().any(|message| *message.client == *client));
        state.messages(responses)
    }

    fn send(&self, messages: Vec<Message>) {
        if messages.is_empty() {
            return;
        }
        let mut state = self.0.state.lock();
        let State { server: Some(server), seats, .. } = &mut *state else { return };
        for Message { client, stream, response } in messages {
            // On a newer stream it would be out of order.
            let Some(seat) = seats.get_mut(&client).filter(|seat| seat.stream == stream) else { continue };
            if !matches!(seat.out.as_ref().map(|out| out.try_send(response)), Some(Ok(()))) {
                // It does not read: what it missed it cannot get any more, so it has to come again.
                server.closed(&client);
                (seat.out, seat.lost) = (None, Some(Instant::now()));
            }
        }
    }

    /// Names of records that changed: those that somebody is to be told of, and some others. `None`: nobody leads.
    fn news(&self, and_others: bool) -> Option<BTreeSet<Name>> {
        let mut state = self.0.state.lock();
        let news = state.server.as_mut()?.news()?;
        let mut names = std::mem::take(&mut news.told);
        if and_others {
            names.extend(std::iter::from_fn(|| news.untold.pop_first()).take(BATCH));
        }
        Some(names)
    }

    fn names(&self) -> Vec<Name> {
        let state = self.0.state.lock();
        state.server.iter().flat_map(|server| server.records().iter()).map(|(name, _)| name.clone()).collect()
    }

    fn fields<'n>(&self, names: impl IntoIterator<Item = &'n Name>) -> Vec<Field> {
        self.look(|server, _| keep::fields(server, names)).unwrap_or_default()
    }

    fn clock(&self) -> Option<Field> {
        self.look(|server, now| keep::clock(Clock { now, started: server.started() }))?
    }
}

impl State {
    fn messages(&self, responses: Vec<(Arc<str>, Response)>) -> Vec<Message> {
        let message = |(client, response)| {
            let stream = self.seats.get(&client)?.stream;
            Some(Message { client, stream, response })
        };
        responses.into_iter().filter_map(message).collect()
    }
}

impl Keeping<'_> {
    async fn turn(&mut self, quotas: &Quotas) -> Duration {
        let next = if self.messages.is_empty() {
            let (messages, next) = quotas.divide();
            let (shares, crowds) =
                messages.into_iter().partition(|message| !message.response.actions.is_empty());
            self.messages = shares;
            quotas.send(crowds);
            next
        } else {
            quotas.send(quotas.divide_nothing(&self.messages));
            RETRY
        };
        let is_beat = self.beat.elapsed() >= BEAT;
        let Some((names, clock)) = quotas.news(is_beat).zip(quotas.clock()) else {
            // Nobody leads, or somebody else does.
            (self.messages, self.names) = (Vec::new(), BTreeSet::new());
            return IDLE;
        };
        self.names.extend(names);
        if is_beat || !self.messages.is_empty() {
            let mut fields = quotas.fields(&self.names);
            fields.push(clock);
            if self.keeper.write(&fields).await == Kept::NotYet {
                self.refill(quotas).await;
                return RETRY;
            }
            (self.names, self.beat) = (BTreeSet::new(), Instant::now());
            quotas.send(std::mem::take(&mut self.messages));
            self.refill(quotas).await;
        }
        next.min(BEAT)
    }

    /// Writes everything, where it is not there.
    async fn refill(&mut self, quotas: &Quotas) {
        if !self.keeper.is_missing() || !self.keeper.clear().await {
            return;
        }
        for names in quotas.names().chunks(BATCH) {
            if !self.keeper.fill(&quotas.fields(names)).await {
                return;
            }
        }
        if let Some(clock) = quotas.clock() {
            self.keeper.complete(&[clock]).await;
        }
    }
}

/// A name for a leader that no other has.
fn name() -> String {
    let mut bytes = [0; 8];
    // Without randomness the time has to do.
    let number =
        SystemRandom::new().fill(&mut bytes).map_or_else(|_| epoch().into(), |()| u64::from_le_bytes(bytes));
    format!("{number:016x}")
}
