//! Ten thousand new keys a second. `QUOTA_FLOOD` says for how many seconds (default 3; acceptance asks for 600).

use std::sync::Arc;
use std::time::Duration;

use fairway_config::quota::{Client, ClientOptions, Id, Limited, Limits, Memory, Server, ServerOptions};
use policies::lease::{Expired, Limit, Size, Table, Terms};

use crate::parts::{MS, SECOND};

struct One(Limit);

impl Limits for One {
    fn limit(&self, _: &str, _: &Id) -> Option<Limited> {
        Some(self.0.into())
    }
}

struct Flooded {
    table: Arc<Table>,
    client: Client,
    server: Server<Memory>,
    limit: Limit,
    now: u64,
    flood: u64,
    most: [usize; 3],
}

impl Flooded {
    fn new(limit: Limit) -> Self {
        let terms = Terms { limit, proxies: 2, reuse: 0, expired: Expired::Closed, is_lost: false };
        let table = Arc::new(Table::keyed(terms, Size { keys: 16_384, ..Size::default() }));
        let mut client = Client::new(ClientOptions { buckets: 20_000, ..ClientOptions::default() });
        client.look_after(0, [("limit".into(), Arc::clone(&table))].into());
        let options = ServerOptions { buckets: 20_000, ..ServerOptions::default() };
        let mut server = Server::new(0, 1, options, Memory::new(options.buckets));
        server.opened("proxy");
        client.opened(0);
        // The server has learned.
        Self { table, client, server, limit, now: 100 * SECOND, flood: 0, most: [0; 3] }
    }

    /// Twenty milliseconds with so many new keys.
    fn step(&mut self, new_keys: u64) {
        for _ in 0..new_keys {
            self.flood += 1;
            self.table.take(self.now, format!("flood-{}", self.flood).as_bytes(), 1);
            self.now += 20 * MS / new_keys;
        }
        if new_keys == 0 {
            self.now += 20 * MS;
        }
        if let Some(message) = self.client.poll(self.now) {
            self.server.report(self.now, "proxy", &message, &One(self.limit)).unwrap();
        }
        for (_, message) in self.server.poll(self.now) {
            self.client.apply(self.now, &message);
        }
        let now = [self.table.counts().keys, self.client.watched(), self.server.records().iter().count()];
        self.most.iter_mut().zip(now).for_each(|(most, now)| *most = now.max(*most));
    }

    fn take(&self, key: &str) -> bool {
        self.table.take(self.now, key.as_bytes(), 1).is_admitted
    }
}

fn flood_seconds() -> u64 {
    std::env::var("QUOTA_FLOOD").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(3)
}

#[test]
fn a_flood_of_keys_resets_no_limit_and_takes_bounded_memory() {
    // Slow, so that no key that was used once can be forgotten while the flood lasts.
    let mut world = Flooded::new(Limit::token_bucket(10, Duration::from_secs(3_600), 10));
    for round in 0..50 {
        (0..100).for_each(|key| {
            world.take(&format!("spent-{key}"));
        });
        // Who comes back is known.
        (0..100).filter(|_| round % 25 == 0).for_each(|key| assert!(world.take(&format!("calm-{key}"))));
        (0..10).for_each(|_| world.step(0));
    }
    assert!((0..100).all(|key| !world.take(&format!("spent-{key}"))), "every token was used");
    let (mut reset, mut calm, mut asked) = (0u64, 0u64, 0u64);
    let seconds = flood_seconds();
    for second in 0..seconds {
        (0..50).for_each(|_| world.step(200));
        if second % 5 == 0 {
            reset += (0..100).filter(|key| world.take(&format!("spent-{key}"))).count() as u64;
        }
        if second % 100 == 50 || second == seconds - 1 {
            asked += 100;
            calm += (0..100).filter(|key| world.take(&format!("calm-{key}"))).count() as u64;
        }
    }
    let counts = world.table.counts();
    println!(
        "         flood | {seconds} s: keys {:?}, overflowed {}, forgotten {}",
        world.most, counts.overflowed, counts.forgotten
    );
    println!("         flood | spent keys admitted {reset}, calm ones {calm} of {asked}");
    assert!(counts.overflowed > 0, "the table was never full");
    assert!(
        world.most[0] <= 16_384 && world.most[1] <= 20_000 && world.most[2] <= 20_000,
        "{:?}",
        world.most
    );
    // Ten an hour come back, whoever else is there.
    assert!(reset <= 100 * (seconds * 10).div_ceil(3_600), "{reset}");
    assert_eq!(calm, asked);
}

#[test]
fn a_flood_of_a_fast_limit_leaves_room_for_those_who_come() {
    let mut world = Flooded::new(Limit::token_bucket(50, Duration::from_secs(1), 50));
    let (mut admitted, mut asked) = (0u64, 0u64);
    for second in 0..flood_seconds() {
        for _ in 0..50 {
            world.step(200);
            // A caller that is new each second and asks twice.
            if world.now % (400 * MS) < 20 * MS {
                asked += 1;
                admitted += u64::from(world.take(&format!("guest-{second}")));
            }
        }
    }
    let counts = world.table.counts();
    println!(
        "         flood | fast: keys {:?}, overflowed {}, guests {admitted} of {asked}",
        world.most, counts.overflowed
    );
    assert!(world.most[0] <= 16_384, "{:?}", world.most);
    assert_eq!(admitted, asked);
}
