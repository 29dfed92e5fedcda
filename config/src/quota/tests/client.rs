//! The client, each arrow of its state machine.

use super::*;

#[test]
fn a_first_request_is_reported_at_once_with_the_domain_and_the_next_after_the_interval() {
    let (mut client, table) = client();
    table.take(0, b"", 1);
    assert_eq!(client.poll(0), None, "there is no stream");
    client.opened(0);
    let first = client.poll(0).unwrap();
    assert_eq!((first.domain.as_str(), first.sequence), ("fairway", 1));
    assert_eq!(first.usages[0].bucket_id, Some(id()));
    assert_eq!((first.usages[0].allowed, first.usages[0].lease.as_ref().unwrap().unleased), (1, 1));
    assert!(first.usages[0].time_elapsed.unwrap().in_nanos() > 0);
    assert_eq!(client.poll(999 * MS), None);
    let second = client.poll(SECOND).unwrap();
    assert_eq!((second.domain.as_str(), second.sequence, second.usages[0].allowed), ("", 2, 0));
}

#[test]
fn an_assignment_is_used_after_what_was_before_it_is_kept_for_the_report() {
    let (mut client, table) = client();
    client.opened(0);
    table.take(0, b"", 1);
    client.poll(0).unwrap();
    assert_eq!(stance(&table, 0), Stance::Unassigned);
    (0..3).for_each(|_| {
        table.take(500 * MS, b"", 1);
    });
    client.apply(500 * MS, &assign(9, 50, Some(5 * SECOND), 1));
    assert_eq!(stance(&table, 500 * MS), Stance::Active);
    let usage = client.poll(700 * MS).unwrap().usages.remove(0);
    assert_eq!(usage.allowed + usage.denied, 3);
    let lease = usage.lease.unwrap();
    assert_eq!((lease.version, lease.rate, lease.unleased), (9, 50 * MICRO, usage.allowed));
}

#[test]
fn a_lease_counts_from_when_the_report_it_answers_was_sent() {
    let (mut client, table) = client();
    client.opened(0);
    table.take(0, b"", 1);
    client.poll(0).unwrap();
    client.apply(4 * SECOND, &assign(9, 50, Some(5 * SECOND), 1));
    assert_eq!(stance(&table, 5 * SECOND - 1), Stance::Active);
    assert_eq!(stance(&table, 5 * SECOND), Stance::Expired);
    // One that was on its way for longer than it lasts, and one that answers nothing we know of, are not used.
    client.apply(6 * SECOND, &assign(10, 50, Some(5 * SECOND), 1));
    client.apply(6 * SECOND, &assign(10, 50, Some(5 * SECOND), 77));
    assert_eq!((stance(&table, 6 * SECOND), client.counts().late), (Stance::Expired, 2));
}

#[test]
fn assignments_that_come_twice_or_late_change_nothing() {
    let (mut client, table) = client();
    client.opened(0);
    table.take(0, b"", 1);
    client.poll(0).unwrap();
    let mut gift = assign(9, 50, Some(5 * SECOND), 1);
    let Some(Action::Assign(Assign { lease: Some(lease), .. })) = &mut gift.actions[0].action else {
        panic!()
    };
    lease.tokens = 5 * MICRO;
    client.apply(0, &gift);
    client.apply(0, &gift);
    client.apply(0, &assign(8, 1, Some(5 * SECOND), 1));
    assert_eq!((0..20).filter(|_| table.take(0, b"", 1).is_admitted).count(), 5);
    assert_eq!(client.counts().late, 1);
    // Another server counts anew.
    client.apply(0, &assign(1 << 32, 1, Some(5 * SECOND), 1));
    assert_eq!(client.poll(SECOND).unwrap().usages[0].lease.as_ref().unwrap().version, 1 << 32);
}

#[test]
fn a_time_to_live_of_zero_ends_the_assignment_and_none_never_ends() {
    let (mut client, table) = client();
    client.opened(0);
    table.take(0, b"", 1);
    client.poll(0).unwrap();
    client.apply(0, &assign(9, 50, None, 1));
    assert_eq!(stance(&table, u64::MAX - 1), Stance::Active);
    client.apply(SECOND, &assign(10, 50, Some(0), 1));
    assert_eq!(stance(&table, SECOND), Stance::Expired);
}

#[test]
fn a_third_partys_strategy_is_used_as_it_is() {
    let (mut client, table) = client();
    client.opened(0);
    table.take(0, b"", 1);
    client.poll(0).unwrap();
    let rule = Rule::TokenBucket(TokenBucket {
        max_tokens: 6,
        tokens_per_fill: Some(Count { value: 1 }),
        fill_interval: Some(Span::of(SECOND)),
    });
    let strategy = |rule| Some(Strategy { rule });
    let assign = |strategy| respond(Action::Assign(Assign { time_to_live: None, strategy, lease: None }), 0);
    client.apply(0, &assign(strategy(Some(rule.clone()))));
    let admitted = || (0..20).filter(|_| table.take(0, b"", 1).is_admitted).count();
    assert_eq!(admitted(), 6);
    // The same again only lasts longer.
    client.apply(0, &assign(strategy(Some(rule))));
    assert_eq!(admitted(), 0);
    client.apply(0, &assign(None));
    assert_eq!(admitted(), 20, "no strategy admits all");
    client.apply(0, &assign(strategy(Some(Rule::Blanket(Blanket::DenyAll as i32)))));
    assert_eq!(admitted(), 0);
}

#[test]
fn an_abandoned_bucket_begins_anew_with_its_next_request() {
    let (mut client, table) = client();
    client.opened(0);
    table.take(0, b"", 1);
    client.poll(0).unwrap();
    client.apply(0, &assign(9, 50, None, 1));
    client.poll(100 * MS).unwrap();
    client.apply(200 * MS, &respond(Action::Abandon(Abandon { is_unknown: false }), 2));
    assert_eq!((stance(&table, 200 * MS), client.watched()), (Stance::Unassigned, 0));
    assert_eq!(client.poll(5 * SECOND), None);
    assert!(table.take(5 * SECOND, b"", 1).is_admitted);
    assert_eq!(client.poll(5 * SECOND).unwrap().usages.len(), 1);
}

#[test]
fn a_bucket_the_server_does_not_know_is_asked_for_again_later() {
    let (mut client, table) = client();
    client.opened(0);
    table.take(0, b"", 1);
    client.poll(0).unwrap();
    client.apply(0, &respond(Action::Abandon(Abandon { is_unknown: true }), 1));
    assert_eq!(stance(&table, 0), Stance::Unknown);
    assert!(table.take(2 * SECOND, b"", 1).is_admitted);
    assert_eq!(client.poll(3 * SECOND), None);
    assert!(client.poll(5 * SECOND).is_some());
}

#[test]
fn a_stream_that_is_opened_again_says_the_domain_and_every_bucket_with_what_it_holds() {
    let (mut client, table) = client();
    client.opened(0);
    table.take(0, b"", 1);
    client.poll(0).unwrap();
    client.apply(0, &assign(9, 50, Some(9 * SECOND), 1));
    client.closed();
    table.take(SECOND, b"", 1);
    assert_eq!(client.poll(2 * SECOND), None);
    assert_eq!(stance(&table, 2 * SECOND), Stance::Active, "a lease outlives its stream");
    client.opened(3 * SECOND);
    let first = client.poll(3 * SECOND).unwrap();
    assert_eq!((first.domain.as_str(), first.sequence, first.seen), ("fairway", 2, 0));
    assert_eq!((first.usages[0].allowed, first.usages[0].lease.as_ref().unwrap().version), (1, 9));
}

#[test]
fn a_proxy_that_leaves_and_a_limit_that_is_taken_away_give_their_leases_back() {
    let (mut client, table) = client();
    client.opened(0);
    table.take(0, b"", 1);
    client.poll(0).unwrap();
    client.apply(0, &assign(9, 50, None, 1));
    client.poll(SECOND).unwrap();
    client.leave(2 * SECOND);
    let lease = client.poll(2 * SECOND).unwrap().usages.remove(0).lease.unwrap();
    assert!(lease.is_released && lease.version == 9 && lease.returned > 9 * MICRO, "{lease:?}");
    assert_eq!(client.watched(), 0);
}

#[test]
fn a_key_that_came_once_is_given_back_and_one_that_comes_again_is_kept() {
    let table = Arc::new(Table::keyed(terms(), policies::lease::Size::default()));
    let mut client = Client::new(ClientOptions::default());
    client.look_after(0, [("l".into(), Arc::clone(&table))].into());
    client.opened(0);
    let mut released = Vec::new();
    for second in 0..60 {
        if second < 5 {
            table.take(second * SECOND, b"again", 1);
        }
        if second == 0 {
            table.take(0, b"once", 1);
        }
        for usage in client.poll(second * SECOND).into_iter().flat_map(|reports| reports.usages) {
            if usage.lease.unwrap().is_released {
                released.push((second, usage.bucket_id.unwrap().bucket["key"].clone()));
            }
        }
    }
    assert!(matches!(&released[..], [(10..=15, key)] if key == "once"), "{released:?}");
    assert_eq!(client.watched(), 1);
}

#[test]
fn nothing_in_a_response_can_break_a_client() {
    let (mut client, table) = client();
    client.opened(0);
    table.take(0, b"", 1);
    client.poll(0).unwrap();
    let other = BucketId { bucket: [("limit".to_owned(), "other".to_owned())].into() };
    let action = |bucket_id, action| BucketAction { bucket_id, action };
    let huge = Lease { version: u64::MAX, rate: u64::MAX, burst: u64::MAX, tokens: u64::MAX };
    let forever = Some(Span { seconds: i64::MAX, nanos: -5 });
    client.apply(
        0,
        &Response {
            actions: vec![
                action(None, None),
                action(Some(BucketId::default()), Some(Action::Abandon(Abandon::default()))),
                action(Some(other.clone()), Some(Action::Abandon(Abandon::default()))),
                action(Some(other), Some(Action::Assign(Assign::default()))),
                action(Some(id()), None),
                action(
                    Some(id()),
                    Some(Action::Assign(Assign { time_to_live: forever, strategy: None, lease: Some(huge) })),
                ),
            ],
            sequence: 1,
            crowds: vec![
                Crowd { limit: "l".into(), proxies: 0, is_least: false },
                Crowd { limit: String::new(), proxies: u32::MAX, is_least: true },
            ],
        },
    );
    assert_eq!(client.counts().unknown, 5);
    assert!(table.take(u64::MAX - 5, b"", 5).is_admitted);
    assert!(client.poll(u64::MAX - 4).is_some());
}

#[test]
fn a_proxy_sends_no_more_than_ten_messages_in_a_second_however_many_keys_come() {
    let table = Arc::new(Table::keyed(terms(), policies::lease::Size::default()));
    let mut client = Client::new(ClientOptions::default());
    client.look_after(0, [("l".into(), Arc::clone(&table))].into());
    client.opened(0);
    let mut sent = Vec::new();
    for step in 0..3_000u64 {
        table.take(step * MS, &step.to_le_bytes(), 1);
        sent.extend(client.poll(step * MS).map(|_| step));
    }
    let most = sent.iter().map(|at| sent.iter().filter(|one| (*at..at + 1_000).contains(one)).count()).max();
    assert!(sent.len() >= 15 && most <= Some(10), "{sent:?}");
}

#[test]
fn whoever_has_just_started_and_knows_of_few_makes_nobody_take_more() {
    let (mut client, table) = client();
    client.opened(0);
    let mut told = |proxies, is_least| {
        let crowds = vec![Crowd { limit: "l".into(), proxies, is_least }];
        client.apply(0, &Response { crowds, ..Response::default() });
        table.terms().proxies
    };
    assert_eq!(told(1, true), 2, "as it was configured");
    assert_eq!(told(8, true), 8);
    assert_eq!(told(3, true), 8);
    assert_eq!(told(3, false), 3);
    assert_eq!(told(0, false), 1);
}
