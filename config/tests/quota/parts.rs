//! What the world is made of.

use std::sync::Arc;

use fairway_config::quota::proto::{Reports, Response};
use fairway_config::quota::{Client, ClientOptions, ServerOptions};
use policies::lease::{Size, Table, Terms};

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000 * MS;

/// A source of requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flow {
    pub(crate) proxy: usize,
    pub(crate) tenant: usize,
    /// Per second.
    pub(crate) rate: f64,
    /// Costs are even from 1 to this.
    pub(crate) cost: u64,
}

#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Replaces all flows.
    Flows(Vec<Flow>),
    Start(usize),
    /// Gives its leases back and ends.
    Leave(usize),
    Kill(usize),
    Part(Vec<usize>),
    Heal,
    KillServer,
    StartServer,
    /// One that goes on from what the last one left.
    ResumeServer,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) seed: u64,
    pub(crate) proxies: usize,
    pub(crate) terms: Terms,
    pub(crate) is_keyed: bool,
    pub(crate) server: ServerOptions,
    pub(crate) interval: u64,
    /// One way, nanoseconds; jitter adds up to as much again.
    pub(crate) delay: u64,
    /// How probable it is that a message is lost and sent again after 200 ms.
    pub(crate) loss: f64,
    /// What the clock of one proxy is off by.
    pub(crate) step: u64,
}

pub(crate) enum Event {
    Step(Step),
    Request {
        flow: usize,
        generation: u64,
    },
    PollClient(usize),
    PollServer,
    ToServer {
        proxy: usize,
        stream: u64,
        message: Reports,
    },
    ToClient {
        proxy: usize,
        stream: u64,
        message: Response,
    },
    Connect(usize),
    /// A proxy finds its stream broken.
    Broken {
        proxy: usize,
        stream: u64,
    },
    /// The server does.
    Gone {
        proxy: usize,
        stream: u64,
    },
}

/// An event and its turn.
pub(crate) struct Turn {
    pub(crate) at: u64,
    pub(crate) number: u64,
    pub(crate) event: Event,
}

impl PartialEq for Turn {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Turn {}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Turn {
    /// The earliest is the greatest: it comes first out of a heap.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

pub(crate) struct Proxy {
    pub(crate) table: Arc<Table>,
    pub(crate) client: Client,
    /// Its clock is so far from the world's.
    pub(crate) offset: u64,
    pub(crate) is_up: bool,
    pub(crate) is_parted: bool,
    /// The stream it has; 0 is none.
    pub(crate) stream: u64,
    /// Messages keep their order: when the last arrives, to the server and back.
    pub(crate) arrives: [u64; 2],
    pub(crate) sent: Vec<u64>,
    pub(crate) received: Vec<u64>,
    pub(crate) life: u64,
}

impl Proxy {
    pub(crate) fn new(setting: &Setting, offset: u64) -> Self {
        let table = Arc::new(if setting.is_keyed {
            Table::keyed(setting.terms, Size::default())
        } else {
            Table::unkeyed(offset, setting.terms)
        });
        let options = ClientOptions { interval: setting.interval, ..ClientOptions::default() };
        let mut client = Client::new(options);
        client.look_after(offset, [("limit".into(), Arc::clone(&table))].into());
        Self {
            table,
            client,
            offset,
            is_up: false,
            is_parted: false,
            stream: 0,
            arrives: [0; 2],
            sent: Vec::new(),
            received: Vec::new(),
            life: 0,
        }
    }
}
