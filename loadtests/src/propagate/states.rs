//! Which answers are right while routes change.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::peers::route;
use crate::standalone::traffic::{Ask, Reply, Scene};

/// Services; a route's state says which it uses.
pub(super) const BACKENDS: [&str; 2] = ["even", "odd"];

pub(super) const fn backend(state: u64) -> &'static str {
    if state.is_multiple_of(2) { BACKENDS[0] } else { BACKENDS[1] }
}

/// What each route may show.
pub(super) struct States {
    pub(super) routes: Vec<Shown>,
    /// The route under change gets a good share of the traffic.
    pub(super) changing: AtomicUsize,
}

#[derive(Default)]
pub(super) struct Shown {
    /// In a file.
    pub(super) saved: AtomicU64,
    /// Seen by the probe: nothing older may follow.
    pub(super) confirmed: AtomicU64,
}

impl States {
    pub(super) fn new(routes: usize) -> Self {
        Self { routes: (0..routes).map(|_| Shown::default()).collect(), changing: AtomicUsize::new(0) }
    }
}

impl Scene for States {
    /// The route, and the state confirmed when it was asked.
    type Mark = (usize, u64);

    fn ask(&self, id: u64) -> (Ask, (usize, u64)) {
        let number = if id.is_multiple_of(4) {
            self.changing.load(Ordering::SeqCst)
        } else {
            usize::try_from(id * 104_729).unwrap_or(0) % self.routes.len()
        };
        let confirmed = self.routes.get(number).map_or(0, |r| r.confirmed.load(Ordering::SeqCst));
        let (host, prefix) = route(number);
        (Ask { id, is_post: id % 5 == 1, host, path: prefix + "x" }, (number, confirmed))
    }

    fn judge(&self, ask: &Ask, (number, confirmed): (usize, u64), reply: &Reply) -> Result<(), String> {
        let saved = self.routes.get(number).map_or(0, |r| r.saved.load(Ordering::SeqCst));
        judge(&ask.host, confirmed, saved, reply)
    }
}

fn judge(host: &str, confirmed: u64, saved: u64, reply: &Reply) -> Result<(), String> {
    let marks: BTreeMap<&str, Option<&str>> =
        ["x-state", "x-echo-state", "x-origin"].into_iter().map(|name| (name, reply.field(name))).collect();
    let Some(state) = reply.number("x-state") else { return Err(format!("{host}: no state: {marks:?}")) };
    if reply.number("x-echo-state") != Some(state) || reply.field("x-origin") != Some(backend(state)) {
        return Err(format!("{host}: half a change: {marks:?}"));
    }
    if !(confirmed..=saved).contains(&state) {
        return Err(format!("{host}: state {state} although {confirmed} was served and {saved} is saved"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(state: &'static str, echo: &'static str, origin: &'static str) -> Reply {
        let fields = [("x-state", state), ("x-echo-state", echo), ("x-origin", origin)];
        let fields = fields.into_iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())).collect();
        Reply { status: 200, body: 2, fields }
    }

    #[test]
    fn half_a_change_and_a_step_back_are_seen() {
        assert_eq!(judge("a", 3, 4, &reply("3", "3", "odd")), Ok(()));
        assert_eq!(judge("a", 3, 4, &reply("4", "4", "even")), Ok(()));
        assert!(judge("a", 3, 4, &reply("4", "3", "even")).unwrap_err().contains("half"));
        assert!(judge("a", 3, 4, &reply("4", "4", "odd")).unwrap_err().contains("half"));
        assert!(judge("a", 4, 4, &reply("3", "3", "odd")).unwrap_err().contains("although"));
        assert!(judge("a", 4, 4, &reply("x", "x", "odd")).unwrap_err().contains("no state"));
    }
}
