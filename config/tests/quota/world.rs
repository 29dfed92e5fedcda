//! The world: events in order of time, and nothing else moves it.

use std::collections::{BTreeMap, BinaryHeap};

use fairway_config::quota::{Id, Left, Limited, Limits, Memory, Server};
use policies::lease::Limit;

use crate::chance::Chance;
use crate::oracle::Admitted;
use crate::parts::{Event, Flow, MS, Proxy, SECOND, Setting, Step, Turn};

struct Configured(Limit);

impl Limits for Configured {
    fn limit(&self, _: &str, id: &Id) -> Option<Limited> {
        id.limit().filter(|limit| *limit == "limit").map(|_| self.0.into())
    }
}

pub(crate) struct World {
    pub(crate) setting: Setting,
    now: u64,
    chance: Chance,
    events: BinaryHeap<Turn>,
    keys: Vec<String>,
    count: u64,
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) server: Option<Server<Memory>>,
    /// What a server keeps for the next: all that it told anybody.
    left: Option<Left>,
    epoch: u32,
    streams: u64,
    /// Which stream the server has of each proxy.
    known: BTreeMap<usize, u64>,
    /// What a partition holds back: (to the server, proxy, event).
    held: Vec<(usize, Event)>,
    flows: Vec<Flow>,
    generation: u64,
    pub(crate) log: Vec<Admitted>,
    /// Requests and refusals by tenant, in tokens.
    pub(crate) asked: BTreeMap<usize, u64>,
    pub(crate) refused: BTreeMap<usize, u64>,
}

impl World {
    pub(crate) fn new(setting: Setting, steps: Vec<(u64, Step)>) -> Self {
        let mut world = Self {
            setting,
            now: 0,
            chance: Chance::new(setting.seed),
            events: BinaryHeap::new(),
            keys: (0..16).map(|tenant| format!("tenant-{tenant}")).collect(),
            count: 0,
            proxies: Vec::new(),
            server: None,
            left: None,
            epoch: 0,
            streams: 0,
            known: BTreeMap::new(),
            held: Vec::new(),
            flows: Vec::new(),
            generation: 0,
            log: Vec::new(),
            asked: BTreeMap::new(),
            refused: BTreeMap::new(),
        };
        for _ in 0..setting.proxies {
            let offset = world.chance.below(3_600 * SECOND) + 3_600 * SECOND;
            world.proxies.push(Proxy::new(&setting, offset));
        }
        if let Some(first) = world.proxies.first_mut() {
            first.offset = first.offset.wrapping_add(setting.step);
            *first = Proxy::new(&setting, first.offset);
        }
        world.server = Some(world.new_server(true));
        world.at(0, Event::PollServer);
        for (at, step) in steps {
            world.at(at, Event::Step(step));
        }
        world
    }

    /// The first server is as old as the world; later ones know nothing.
    fn new_server(&mut self, is_old: bool) -> Server<Memory> {
        self.epoch += 1;
        let started = if is_old { 0 } else { self.server_now() };
        let records = Memory::new(self.setting.server.buckets);
        Server::new(started, self.epoch, self.setting.server, records)
    }

    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// Servers keep what they know from here on.
    pub(crate) fn keep(&mut self) {
        let now = self.server_now();
        if let Some(server) = &mut self.server {
            server.resume(now, None);
            self.left = Some(Left { now, started: server.started(), records: Vec::new() });
        }
    }

    /// The server's clock began a week before the world.
    fn server_now(&self) -> u64 {
        self.now + 7 * 86_400 * SECOND
    }

    fn at(&mut self, at: u64, event: Event) {
        self.count += 1;
        self.events.push(Turn { at: at.max(self.now), number: self.count, event });
    }

    pub(crate) fn run(&mut self, until: u64) {
        while self.events.peek().is_some_and(|turn| turn.at <= until) {
            if let Some(Turn { at, event, .. }) = self.events.pop() {
                self.now = at;
                self.happen(event);
            }
        }
        self.now = until;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Step(step) => self.step(step),
            Event::Request { flow, generation } if generation == self.generation => self.request(flow),
            Event::Request { .. } => {}
            Event::PollClient(proxy) => self.poll_client(proxy),
            Event::PollServer => self.poll_server(),
            Event::ToServer { proxy, stream, message } => {
                let now = self.server_now();
                let limits = Configured(self.setting.terms.limit);
                if self.known.get(&proxy) == Some(&stream)
                    && let Some(server) = &mut self.server
                {
                    server.report(now, &name(proxy), &message, &limits).unwrap();
                    self.poll_server_now();
                }
            }
            Event::ToClient { proxy, stream, message } => {
                let one = &mut self.proxies[proxy];
                if one.is_up && one.stream == stream {
                    one.received.push(self.now);
                    one.client.apply(self.now + one.offset, &message);
                    self.poll_client_now(proxy);
                }
            }
            Event::Connect(proxy) => self.connect(proxy),
            Event::Broken { proxy, stream } => self.broken(proxy, stream),
            Event::Gone { proxy, stream } => {
                if self.known.get(&proxy) == Some(&stream) {
                    self.known.remove(&proxy);
                    if let Some(server) = &mut self.server {
                        server.closed(&name(proxy));
                    }
                }
            }
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Flows(flows) => {
                self.generation += 1;
                self.flows = flows;
                for flow in 0..self.flows.len() {
                    self.next_request(flow);
                }
            }
            Step::Start(proxy) => {
                self.proxies[proxy].is_up = true;
                let life = self.proxies[proxy].life;
                self.at(self.now, Event::Connect(proxy));
                if life == 0 {
                    self.proxies[proxy].life = 1;
                    self.at(self.now, Event::PollClient(proxy));
                }
            }
            Step::Leave(proxy) => {
                let one = &mut self.proxies[proxy];
                one.client.leave(self.now + one.offset);
                self.poll_client_now(proxy);
                self.proxies[proxy].is_up = false;
            }
            Step::Kill(proxy) => {
                let one = &mut self.proxies[proxy];
                one.is_up = false;
                let stream = std::mem::take(&mut one.stream);
                *one = Proxy { life: one.life, ..Proxy::new(&self.setting, one.offset) };
                self.at(self.now + 10 * MS, Event::Gone { proxy, stream });
            }
            Step::Part(proxies) => {
                for proxy in proxies {
                    self.proxies[proxy].is_parted = true;
                    // Keepalive finds it, or nobody does before it is over.
                    if self.chance.happens(0.5) {
                        let stream = self.proxies[proxy].stream;
                        let (mine, theirs) = (self.chance.below(10 * SECOND), self.chance.below(10 * SECOND));
                        self.at(self.now + mine, Event::Broken { proxy, stream });
                        self.at(self.now + theirs, Event::Gone { proxy, stream });
                    }
                }
            }
            Step::Heal => {
                self.proxies.iter_mut().for_each(|proxy| proxy.is_parted = false);
                for (_, event) in std::mem::take(&mut self.held) {
                    self.at(self.now + 20 * MS, event);
                }
            }
            Step::KillServer => {
                self.server = None;
                self.known.clear();
                for proxy in 0..self.proxies.len() {
                    let stream = self.proxies[proxy].stream;
                    let later = self.chance.below(50 * MS);
                    self.at(self.now + later, Event::Broken { proxy, stream });
                }
            }
            Step::StartServer => self.server = Some(self.new_server(false)),
            Step::ResumeServer => {
                let mut server = self.new_server(false);
                server.resume(self.server_now(), self.left.clone());
                self.server = Some(server);
            }
        }
    }

    fn connect(&mut self, proxy: usize) {
        let one = &mut self.proxies[proxy];
        if !one.is_up || one.stream != 0 {
            return;
        }
        if one.is_parted || self.server.is_none() {
            let later = 300 * MS + self.chance.below(200 * MS);
            return self.at(self.now + later, Event::Connect(proxy));
        }
        self.streams += 1;
        one.stream = self.streams;
        one.client.opened(self.now + one.offset);
        self.known.insert(proxy, self.streams);
        if let Some(server) = &mut self.server {
            server.opened(&name(proxy));
        }
        self.poll_client_now(proxy);
    }

    fn broken(&mut self, proxy: usize, stream: u64) {
        let one = &mut self.proxies[proxy];
        if one.stream == stream && stream != 0 {
            one.stream = 0;
            one.client.closed();
            self.held.retain(|(held, _)| *held != proxy);
            let later = 10 * MS + self.chance.below(100 * MS);
            self.at(self.now + later, Event::Connect(proxy));
        }
    }

    fn request(&mut self, index: usize) {
        let flow = self.flows[index];
        self.next_request(index);
        let cost = 1 + self.chance.below(flow.cost);
        let one = &self.proxies[flow.proxy];
        if !one.is_up {
            return;
        }
        *self.asked.entry(flow.tenant).or_default() += cost;
        let taken = one.table.take(self.now + one.offset, self.keys[flow.tenant].as_bytes(), cost);
        if taken.is_admitted {
            self.log.push(Admitted { at: self.now, proxy: flow.proxy, tenant: flow.tenant, cost });
        } else {
            *self.refused.entry(flow.tenant).or_default() += cost;
        }
    }

    fn next_request(&mut self, flow: usize) {
        let rate = self.flows[flow].rate;
        if rate > 0.0 {
            let gap = self.chance.gap(rate);
            self.at(self.now + gap, Event::Request { flow, generation: self.generation });
        }
    }

    fn poll_client(&mut self, proxy: usize) {
        self.poll_client_now(proxy);
        self.at(self.now + 20 * MS, Event::PollClient(proxy));
    }

    fn poll_client_now(&mut self, proxy: usize) {
        let one = &mut self.proxies[proxy];
        if !one.is_up || one.stream == 0 {
            return;
        }
        let (stream, is_parted) = (one.stream, one.is_parted);
        if let Some(message) = one.client.poll(self.now + one.offset) {
            one.sent.push(self.now);
            let at = self.travel(proxy, 0);
            let event = Event::ToServer { proxy, stream, message };
            if is_parted { self.held.push((proxy, event)) } else { self.at(at, event) }
        }
    }

    fn poll_server(&mut self) {
        self.poll_server_now();
        self.at(self.now + 20 * MS, Event::PollServer);
    }

    fn poll_server_now(&mut self) {
        let now = self.server_now();
        let Some(server) = &mut self.server else { return };
        let messages = server.poll(now);
        if let Some(left) = &mut self.left {
            keep(left, server, now);
        }
        for (client, message) in messages {
            let proxy: usize = client.trim_start_matches("proxy-").parse().unwrap();
            let Some(stream) = self.known.get(&proxy).copied() else { continue };
            let at = self.travel(proxy, 1);
            let event = Event::ToClient { proxy, stream, message };
            if self.proxies[proxy].is_parted { self.held.push((proxy, event)) } else { self.at(at, event) }
        }
    }

    /// When a message sent now arrives: later when it was lost and is sent again, and never before the one ahead of it.
    fn travel(&mut self, proxy: usize, way: usize) -> u64 {
        let mut took = self.setting.delay + self.chance.below(self.setting.delay);
        let mut again = 200 * MS;
        while self.chance.happens(self.setting.loss) && again < 10 * SECOND {
            took += again;
            again *= 2;
        }
        let arrives = &mut self.proxies[proxy].arrives[way];
        *arrives = (*arrives + 1).max(self.now + took);
        *arrives
    }
}

/// Keeps what clients are about to be told of.
fn keep(left: &mut Left, server: &mut Server<Memory>, now: u64) {
    (left.now, left.started) = (now, server.started());
    let told = server.news().map(|news| std::mem::take(&mut news.told)).unwrap_or_default();
    left.records.retain(|(name, _)| !told.contains(name));
    let records =
        told.into_iter().filter_map(|name| Some((name.clone(), server.records().get(&name)?.clone())));
    left.records.extend(records);
}

fn name(proxy: usize) -> String {
    format!("proxy-{proxy}")
}
