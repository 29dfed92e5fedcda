use std::sync::Arc;
use std::time::Duration;

use policies::lease::{Expired, Limit, MICRO, Share, Stance, Table, Terms};
use prost::Message;

use super::proto::{
    Abandon, Action, Assign, Blanket, BucketAction, BucketId, BucketUsage, Count, Crowd, Lease, LeaseUsage,
    Reports, Response, Rule, Span, Strategy, TokenBucket,
};
use super::*;

mod client;
mod hostile;
mod serve;
mod server;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

struct Configured(Limit);

impl Limits for Configured {
    fn limit(&self, domain: &str, id: &Id) -> Option<Limited> {
        id.limit().filter(|limit| *limit == "l" && domain == "fairway").map(|_| self.0.into())
    }
}

fn limit() -> Limit {
    Limit::token_bucket(100, Duration::from_secs(1), 80)
}

fn terms() -> Terms {
    Terms { limit: limit(), proxies: 2, reuse: 0, expired: Expired::Closed, is_lost: false }
}

fn client() -> (Client, Arc<Table>) {
    let table = Arc::new(Table::unkeyed(0, terms()));
    let mut client = Client::new(ClientOptions::default());
    client.look_after(0, [("l".into(), Arc::clone(&table))].into());
    (client, table)
}

/// One that has learned what there was.
fn server() -> Server<Memory> {
    let mut server =
        Server::new(0, 1, ServerOptions { ttl: 10 * SECOND, ..ServerOptions::default() }, Memory::new(10));
    for name in ["a", "b", "envoy"] {
        server.opened(name);
    }
    server
}

const NOW: u64 = 100 * SECOND;

fn id() -> BucketId {
    Id::new("l", None).encode()
}

fn stance(table: &Table, now: u64) -> Stance {
    let mut found = None;
    table.each(|_, bucket| found = Some(bucket.stance(now, &table.terms())));
    found.unwrap()
}

fn assign(version: u64, rate: u64, ttl: Option<u64>, sequence: u64) -> Response {
    let lease = Lease { version, rate: rate * MICRO, burst: 10 * MICRO, tokens: 0 };
    let assign = Assign { time_to_live: ttl.map(Span::of), strategy: None, lease: Some(lease) };
    respond(Action::Assign(assign), sequence)
}

fn respond(action: Action, sequence: u64) -> Response {
    Response {
        actions: vec![BucketAction { bucket_id: Some(id()), action: Some(action) }],
        sequence,
        crowds: Vec::new(),
    }
}

/// What a client that knows leases says.
fn says(version: u64, allowed: u64, denied: u64, seen: u64) -> Reports {
    let lease = LeaseUsage { version, ..LeaseUsage::default() };
    said(allowed, denied, Some(lease), seen)
}

fn said(allowed: u64, denied: u64, lease: Option<LeaseUsage>, seen: u64) -> Reports {
    let usage =
        BucketUsage { bucket_id: Some(id()), time_elapsed: Some(Span::of(SECOND)), allowed, denied, lease };
    Reports { domain: "fairway".into(), usages: vec![usage], sequence: 1, seen }
}

/// What the server tells whom: the client, the version, tokens per second.
fn told(server: &mut Server<Memory>, now: u64) -> Vec<(String, u64, u64)> {
    let mut told = Vec::new();
    for (client, response) in server.poll(now) {
        for action in response.actions {
            let Some(Action::Assign(Assign { lease: Some(lease), .. })) = action.action else {
                panic!("{action:?}")
            };
            told.push((client.to_string(), lease.version, lease.rate / MICRO));
        }
    }
    told
}

fn report(server: &mut Server<Memory>, now: u64, client: &str, reports: &Reports) {
    server.report(now, client, reports, &Configured(limit())).unwrap();
}

#[test]
fn messages_have_the_numbers_of_the_official_ones_and_ours_are_out_of_their_way() {
    let reports = says(3, 4, 5, 0);
    // domain 1, bucket_quota_usages 2 { bucket_id 1 { bucket 1 { 1: limit, 2: l } }, time_elapsed 2 { 1 }, 3: 4, 4: 5,
    // 1000 { 1: 3 } }, 1000: 1
    let official = b"\x0a\x07fairway\x12\x20\x0a\x0c\x0a\x0a\x0a\x05limit\x12\x01l\x12\x02\x08\x01\x18\x04\x20\x05\xc2\x3e\x02\x08\x03\xc0\x3e\x01";
    let encoded = reports.encode_to_vec();
    assert_eq!(Reports::decode(&encoded[..]).unwrap(), reports);
    let len = encoded.len();
    assert_eq!((&encoded[..9], &encoded[len - 3..]), (&official[..9], &b"\xc0\x3e\x01"[..]));
    assert!(encoded.windows(8).any(|bytes| bytes == b"\x12\x02\x08\x01\x18\x04\x20\x05"));
    let assign = Assign {
        time_to_live: Some(Span::of(SECOND)),
        strategy: Some(Strategy { rule: Some(Rule::Blanket(Blanket::DenyAll as i32)) }),
        lease: None,
    };
    // assignment_time_to_live 2, rate_limit_strategy 3 { blanket_rule 1 }
    assert_eq!(assign.encode_to_vec(), b"\x12\x02\x08\x01\x1a\x02\x08\x01");
    let action = respond(Action::Abandon(Abandon::default()), 0).actions.remove(0);
    assert!(action.encode_to_vec().ends_with(b"\x1a\x00"), "abandon_action is 3");
}

#[test]
fn a_share_never_shows_to_others_as_more_than_it_is() {
    let share = Share { rate: 33 * MICRO + 7, burst: 5 * MICRO };
    let told = strategy::encode(&limit(), share);
    let read = strategy::decode(&limit(), Some(&told)).unwrap();
    assert!(read.rate <= share.rate && read.rate > 32 * MICRO && read.burst == share.burst);
}
