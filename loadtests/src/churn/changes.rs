//! Changes of weights, filters, backends and host names, one kind after the other, under mixed load.
//!
//! Two routes share three hosts. Every answer says which state of the configuration made it, in several independent
//! ways; if they disagree, the request saw half a change.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use super::{Part, Plan};
use crate::histogram::Histogram;
use crate::origin::Origin;
use crate::report::complain;
use crate::standalone::manifests::{Route, endpoints, gateway, service};
use crate::standalone::traffic::{Ask, Reply, Scene, Traffic};
use crate::standalone::{Standalone, get};

const ORIGINS: [&str; 3] = ["a", "b", "c"];
const HOSTS: [&str; 3] = ["stable.example.com", "one.example.com", "two.example.com"];

/// A configuration.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    number: u64,
    /// Index of the weights.
    weights: usize,
    /// Index of the first of two backends.
    backends: usize,
    /// One more response field and a rewritten path.
    is_edited: bool,
    /// The second host of the two routes changes places.
    is_swapped: bool,
}

const WEIGHTS: [(u32, u32); 4] = [(1, 1), (9, 1), (0, 1), (1, 0)];

impl State {
    /// The next one: another kind of change each time.
    const fn next(mut self) -> Self {
        match self.number % 4 {
            0 => self.weights = (self.weights + 1) % WEIGHTS.len(),
            1 => self.is_edited = !self.is_edited,
            2 => self.backends = (self.backends + 1) % ORIGINS.len(),
            _ => self.is_swapped = !self.is_swapped,
        }
        self.number += 1;
        self
    }

    fn pair(&self) -> [(&'static str, u32); 2] {
        let name = |i: usize| ORIGINS.get(i % ORIGINS.len()).copied().unwrap_or_default();
        let (first, second) = WEIGHTS.get(self.weights).copied().unwrap_or_default();
        [(name(self.backends), first), (name(self.backends + 1), second)]
    }

    /// Which route serves a host.
    fn route_of(&self, host: &str) -> &'static str {
        let [_, one, _] = HOSTS;
        let is_second = host != HOSTS[0] && (host == one) == self.is_swapped;
        if is_second { "second" } else { "first" }
    }

    fn manifest(&self) -> String {
        let rewrite = format!("/edited-{}", self.number);
        ["first", "second"]
            .map(|name| {
                let hosts: Vec<&str> = HOSTS.into_iter().filter(|h| self.route_of(h) == name).collect();
                let mut fields = vec![("x-route", name)];
                if self.is_edited {
                    fields.push(("x-edited", "yes"));
                }
                Route {
                    name,
                    hosts: &hosts,
                    prefix: "/p",
                    state: self.number,
                    rewrite: self.is_edited.then_some(rewrite.as_str()),
                    fields: &fields,
                    backends: &self.pair(),
                }
                .manifest()
            })
            .concat()
    }

    /// Says what in an answer is not of this state.
    fn judge(&self, host: &str, reply: &Reply) -> Result<(), String> {
        let origin = reply.field("x-origin");
        let path = if self.is_edited { format!("/edited-{}/x", self.number) } else { "/p/x".to_owned() };
        let checks = [
            ("request field", reply.number("x-echo-state") == Some(self.number)),
            ("route", reply.field("x-route") == Some(self.route_of(host))),
            ("response field", reply.field("x-edited").is_some() == self.is_edited),
            ("path", reply.field("x-echo-path") == Some(&path)),
            ("backend", self.pair().iter().any(|(name, weight)| *weight > 0 && origin == Some(name))),
        ];
        match checks.iter().find(|(_, holds)| !holds) {
            None => Ok(()),
            Some((what, _)) => {
                Err(format!("{host}: {what} is not of state {}: {:?}", self.number, reply.fields))
            }
        }
    }
}

/// All states there will be; those from `confirmed` to `saved` may be seen.
struct States {
    all: Vec<State>,
    saved: AtomicUsize,
    confirmed: AtomicUsize,
}

impl Scene for States {
    type Mark = usize;

    fn ask(&self, id: u64) -> (Ask, usize) {
        let host = HOSTS.get(usize::try_from(id % 3).unwrap_or(0)).copied().unwrap_or_default();
        let ask = Ask { id, is_post: id % 5 == 1, host: host.to_owned(), path: "/p/x".to_owned() };
        (ask, self.confirmed.load(Ordering::SeqCst))
    }

    fn judge(&self, ask: &Ask, confirmed: usize, reply: &Reply) -> Result<(), String> {
        let saved = self.saved.load(Ordering::SeqCst);
        let state = reply.number("x-state").and_then(|n| usize::try_from(n).ok());
        match state.and_then(|n| self.all.get(n)) {
            Some(state) if (confirmed..=saved).contains(&(state.number as usize)) => {
                state.judge(&ask.host, reply)
            }
            _ => Err(format!("{}: state {state:?}, not {confirmed} to {saved}", ask.host)),
        }
    }
}

pub(super) async fn run(program: Option<&Path>, scratch: &Path, plan: &Plan) -> Result<Part> {
    complain(format_args!("changes: {} under {} requests/s", plan.changes, plan.rate));
    let mut fairway = Standalone::prepare(program, scratch)?;
    let mut base = gateway(fairway.address.socket.port());
    for name in ORIGINS {
        let (_, address) = Origin::new(Some(name.to_owned())).spawn().await?;
        base += &(service(name) + &endpoints(name, &[address]));
    }
    let all: Vec<State> =
        std::iter::successors(Some(State::default()), |s| Some(s.next())).take(plan.changes + 1).collect();
    let scene = Arc::new(States { all, saved: AtomicUsize::new(0), confirmed: AtomicUsize::new(0) });
    fairway.replace("base.yaml", &base)?;
    fairway.replace("routes.yaml", &State::default().manifest())?;
    let [host, ..] = HOSTS;
    fairway.start(host, "/p/x").await?;
    let traffic = Traffic::start(&fairway.address, &scene, plan.rate, u64::MAX);
    let begun = Instant::now();
    let mut times = Histogram::new();
    let result = change_all(&fairway, &scene, &mut times).await;
    let seconds = begun.elapsed().as_secs_f64();
    let outcome = traffic.stop().await?;
    outcome.complain();
    result?;
    let (failed, wrong) = (outcome.failures.len(), outcome.wrong.len());
    let (sent, p99) = (outcome.sent(), times.micros(0.99) / 1e3);
    Ok(Part {
        name: "changes",
        is_good: failed == 0 && wrong == 0,
        text: format!(
            "{} changes in {seconds:.1} s (seen after {:.1} ms, p99 {p99:.1} ms): of {sent} requests {failed} failed, \
             {wrong} saw half a change or an old one",
            times.count(),
            times.micros(0.5) / 1e3
        ),
        figures: json!({ "changes": times.count(), "requests": sent, "failed": failed, "wrong": wrong,
            "resent": outcome.resent, "p50Ms": times.micros(0.5) / 1e3, "p99Ms": p99 }),
    })
}

async fn change_all(fairway: &Standalone, scene: &States, times: &mut Histogram) -> Result<()> {
    let [host, ..] = HOSTS;
    let request = get(host, "/p/x");
    let mut probe = None;
    for (number, state) in scene.all.iter().enumerate().skip(1) {
        let text = state.manifest();
        scene.saved.store(number, Ordering::SeqCst);
        let begun = fairway.replace("routes.yaml", &text)?;
        let wanted = number.to_string();
        let took = fairway.await_field(&mut probe, &request, ("x-state", &wanted), begun).await?;
        scene.confirmed.store(number, Ordering::SeqCst);
        times.record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        tokio::time::sleep(Duration::from_millis(50 + (number as u64 * 13) % 41)).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_change_happens_and_every_host_stays_served() {
        let states: Vec<State> =
            std::iter::successors(Some(State::default()), |s| Some(s.next())).take(9).collect();
        assert_eq!(states[1].pair(), [("a", 9), ("b", 1)]);
        assert!(states[2].is_edited && !states[6].is_edited);
        assert_eq!(states[3].pair(), [("b", 9), ("c", 1)]);
        assert_eq!(states[3].route_of("one.example.com"), "first");
        assert_eq!(states[4].route_of("one.example.com"), "second");
        assert_eq!(states[4].route_of("two.example.com"), "first");
        for state in &states {
            let text = state.manifest();
            assert!(HOSTS.iter().all(|h| text.matches(h).count() == 1), "{text}");
            assert_eq!(text.matches("kind: HTTPRoute").count(), 2);
        }
    }

    #[test]
    fn an_answer_of_two_states_is_judged_wrong() {
        let state = State { number: 5, ..State::default() };
        let reply = |echo: &str, route: &str, origin: &str| {
            let fields = [
                ("x-state", "5"),
                ("x-echo-state", echo),
                ("x-route", route),
                ("x-origin", origin),
                ("x-echo-path", "/p/x"),
            ];
            let fields = fields.into_iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())).collect();
            Reply { status: 200, body: 2, fields }
        };
        assert_eq!(state.judge("stable.example.com", &reply("5", "first", "a")), Ok(()));
        for (echo, route, origin) in [("4", "first", "a"), ("5", "second", "a"), ("5", "first", "c")] {
            assert!(state.judge("stable.example.com", &reply(echo, route, origin)).is_err());
        }
    }
}
