//! Whatever the other side says: nothing breaks, and nobody gets more than there is.

use policies::lease::Size;
use proptest::prelude::*;

use super::{
    Abandon, Action, Arc, Assign, BucketAction, BucketUsage, Client, ClientOptions, Count, Crowd, Duration,
    Id, Lease, LeaseUsage, Limit, Limited, Limits, MICRO, MS, Memory, Reports, Response, Rule, SECOND,
    Server, ServerOptions, Span, Table, Terms, TokenBucket, id, limit, proto, terms,
};

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..5, 0u64..2_000_000_000, Just(u64::MAX), Just(u64::MAX / 2), any::<u64>()]
}

fn span() -> impl Strategy<Value = Option<Span>> {
    let any = (any::<i64>(), any::<i32>()).prop_map(|(seconds, nanos)| Some(Span { seconds, nanos }));
    prop_oneof![Just(None), number().prop_map(|nanos| Some(Span::of(nanos))), any]
}

fn usage() -> impl Strategy<Value = BucketUsage> {
    let lease = [(); 7].map(|()| number());
    let lease = (lease, any::<bool>()).prop_map(
        |([version, rate, burst, unleased, spilled, returned, in_window], is_released)| LeaseUsage {
            version,
            rate,
            burst,
            unleased,
            spilled,
            returned,
            in_window,
            level: rate,
            is_released,
        },
    );
    let key = prop_oneof![Just(None), (0u32..3).prop_map(Some)];
    (key, span(), number(), number(), proptest::option::of(lease)).prop_map(
        |(key, time_elapsed, allowed, denied, lease)| {
            let key = key.map(|key| policies::lease::Key::of(key.to_string().as_bytes()));
            BucketUsage {
                bucket_id: Some(Id::new("l", key.as_ref()).encode()),
                time_elapsed,
                allowed,
                denied,
                lease,
            }
        },
    )
}

fn response() -> impl Strategy<Value = Response> {
    let lease = (number(), number(), number(), number()).prop_map(|(version, rate, burst, tokens)| Lease {
        version,
        rate,
        burst,
        tokens,
    });
    let rule = prop_oneof![
        any::<i32>().prop_map(Rule::Blanket),
        (any::<u32>(), proptest::option::of(any::<u32>()), span()).prop_map(
            |(max_tokens, fill, fill_interval)| {
                let tokens_per_fill = fill.map(|value| Count { value });
                Rule::TokenBucket(TokenBucket { max_tokens, tokens_per_fill, fill_interval })
            }
        ),
    ];
    let strategy = proptest::option::of(rule.prop_map(|rule| proto::Strategy { rule: Some(rule) }));
    let action = prop_oneof![
        (span(), strategy, proptest::option::of(lease)).prop_map(|(time_to_live, strategy, lease)| {
            Action::Assign(Assign { time_to_live, strategy, lease })
        }),
        any::<bool>().prop_map(|is_unknown| Action::Abandon(Abandon { is_unknown })),
    ];
    let crowd = (any::<u32>(), any::<bool>()).prop_map(|(proxies, is_least)| Crowd {
        limit: "l".into(),
        proxies,
        is_least,
    });
    let actions = proptest::collection::vec(
        proptest::option::of(action).prop_map(|action| BucketAction { bucket_id: Some(id()), action }),
        0..4,
    );
    (actions, number(), proptest::collection::vec(crowd, 0..2))
        .prop_map(|(actions, sequence, crowds)| Response { actions, sequence, crowds })
}

/// The limit as it is now: it changes, too.
struct Changing(Limit);

impl Limits for Changing {
    fn limit(&self, _: &str, _: &Id) -> Option<Limited> {
        Some(Limited { reuse: SECOND, proxies: Some(3), ..self.0.into() })
    }
}

proptest! {
    /// Two clients that say anything, of limits that change: what is out never sums up to more than there is.
    #[test]
    fn no_report_breaks_a_server_or_makes_it_give_more_than_there_is(
        steps in proptest::collection::vec((0u64..3_000, any::<bool>(), proptest::collection::vec(usage(), 0..5), number(), number(), 0u8..8), 1..40),
    ) {
        let mut server = Server::new(0, 1, ServerOptions { ttl: 10 * SECOND, ..ServerOptions::default() }, Memory::new(20));
        ["a", "b"].iter().for_each(|client| server.opened(client));
        let limits = [limit(), Limit::sliding_window(100, Duration::from_secs(1))];
        let mut now = 100 * SECOND;
        for (pause, is_first, usages, sequence, seen, what) in steps {
            now += pause * MS;
            let client = if is_first { "a" } else { "b" };
            if what == 0 {
                server.closed(client);
                server.opened(client);
            }
            let limits = Changing(limits[usize::from(what == 1)]);
            let reports = Reports { domain: "fairway".into(), usages, sequence, seen };
            prop_assert!(server.report(now, client, &reports, &limits).is_ok());
            for (_, response) in server.poll(now) {
                for action in response.actions {
                    if let Some(Action::Assign(Assign { lease: Some(lease), .. })) = action.action {
                        prop_assert!(lease.rate <= 100 * MICRO, "{lease:?}");
                    }
                }
            }
            prop_assert!(server.next() <= now + SECOND);
        }
    }

    /// A server that says anything: a client goes on, and so do its buckets.
    #[test]
    fn no_response_breaks_a_client(
        steps in proptest::collection::vec((0u64..3_000, response(), any::<bool>()), 1..40), is_window in any::<bool>(),
    ) {
        let limit = if is_window { Limit::sliding_window(100, Duration::from_secs(1)) } else { limit() };
        let terms = Terms { limit, ..terms() };
        let tables = [Arc::new(Table::unkeyed(0, terms)), Arc::new(Table::keyed(terms, Size::default()))];
        let mut client = Client::new(ClientOptions::default());
        let named = ["l", "k"].map(Arc::<str>::from).into_iter().zip(tables.clone());
        client.look_after(0, named.collect());
        client.opened(0);
        let mut now = 0;
        for (pause, response, is_lost) in steps {
            now += pause * MS;
            for table in &tables {
                table.take(now, b"a", 1);
                table.charge(now, b"a", 7);
                table.give_back(now, b"a", 1);
            }
            client.poll(now);
            client.apply(now, &response);
            client.lost(now, is_lost);
        }
    }
}
