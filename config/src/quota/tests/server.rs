//! The server, each promise it makes about what is out.

use super::*;

#[test]
fn what_nobody_has_goes_out_at_once_and_the_rest_only_when_it_was_given_back() {
    let mut server = server();
    report(&mut server, NOW, "a", &says(0, 10, 500, 0));
    let [(_, first, 100)] = told(&mut server, NOW)[..] else { panic!("the only one gets all") };
    report(&mut server, NOW, "a", &says(first, 10, 500, 1));
    report(&mut server, NOW, "b", &says(0, 10, 500, 0));
    let asked = told(&mut server, NOW + SECOND);
    let [(_, less, 50)] = asked[..] else { panic!("{asked:?}") };
    assert_eq!(told(&mut server, NOW + 2 * SECOND), [], "nobody has acknowledged");
    // An old version acknowledges nothing.
    report(&mut server, NOW + 2 * SECOND, "a", &says(first, 10, 500, 1));
    assert_eq!(told(&mut server, NOW + 3 * SECOND), []);
    report(&mut server, NOW + 3 * SECOND, "a", &says(less, 10, 500, 2));
    let given = told(&mut server, NOW + 3 * SECOND);
    assert!(matches!(given[..], [(ref client, _, 50)] if client == "b"), "{given:?}");
}

#[test]
fn what_was_never_acknowledged_is_free_when_it_ends_and_not_before() {
    let mut server = server();
    report(&mut server, NOW, "a", &says(0, 10, 500, 0));
    assert_eq!(told(&mut server, NOW).len(), 1);
    report(&mut server, NOW + SECOND, "b", &says(0, 10, 500, 0));
    assert_eq!(told(&mut server, NOW + 9 * SECOND), []);
    report(&mut server, NOW + 9 * SECOND, "b", &says(0, 10, 500, 0));
    assert_eq!(told(&mut server, NOW + 10 * SECOND - 1), []);
    report(&mut server, NOW + 10 * SECOND, "b", &says(0, 10, 500, 0));
    let given = told(&mut server, NOW + 11 * SECOND);
    assert!(matches!(given[..], [(ref client, _, 100)] if client == "b"), "{given:?}");
}

#[test]
fn what_did_not_arrive_before_a_stream_broke_is_told_again() {
    let mut server = server();
    report(&mut server, NOW, "a", &says(0, 10, 500, 0));
    let first = told(&mut server, NOW);
    server.closed("a");
    server.opened("a");
    report(&mut server, NOW + SECOND, "a", &says(0, 10, 500, 0));
    let again = told(&mut server, NOW + SECOND);
    assert!(again.len() == 1 && again[0].1 > first[0].1, "{again:?}");
    // The same on one stream: it came, and was too late to be used.
    report(&mut server, NOW + 2 * SECOND, "a", &says(0, 10, 500, 1));
    assert_eq!(told(&mut server, NOW + 2 * SECOND).len(), 1);
}

#[test]
fn a_server_that_has_just_started_gives_away_no_more_than_what_clients_had() {
    let mut server =
        Server::new(NOW, 2, ServerOptions { ttl: 10 * SECOND, ..ServerOptions::default() }, Memory::new(9));
    ["a", "b"].iter().for_each(|client| server.opened(client));
    let held = LeaseUsage { version: 1 << 32, rate: 40 * MICRO, burst: 20 * MICRO, ..LeaseUsage::default() };
    report(&mut server, NOW, "a", &said(40, 500, Some(held), 0));
    // Its lease is lengthened as it is.
    assert_eq!(told(&mut server, NOW), [("a".to_owned(), 1 << 32, 40)]);
    report(&mut server, NOW + SECOND, "b", &says(0, 1, 500, 0));
    let asked = told(&mut server, NOW + SECOND);
    let [(ref client, less, 20)] = asked[..] else { panic!("{asked:?}") };
    assert_eq!(client, "a");
    let held = LeaseUsage { version: less, rate: 20 * MICRO, burst: 10 * MICRO, ..LeaseUsage::default() };
    report(&mut server, NOW + SECOND, "a", &said(40, 500, Some(held.clone()), 2));
    assert!(matches!(told(&mut server, NOW + SECOND)[..], [(_, _, 20)]));
    // When the longest lease of others has ended, the whole limit is there.
    report(&mut server, NOW + 10 * SECOND, "a", &said(400, 5000, Some(held), 2));
    let given = told(&mut server, NOW + 10 * SECOND);
    assert!(given.iter().any(|(client, _, rate)| client == "a" && *rate > 20), "{given:?}");
}

#[test]
fn a_client_without_leases_is_believed_to_use_less_only_when_its_share_has_ended() {
    let mut server = server();
    report(&mut server, NOW, "envoy", &said(10, 500, None, 0));
    assert!(matches!(told(&mut server, NOW)[..], [(_, _, 100)]));
    for second in 1..10 {
        report(&mut server, NOW + second * SECOND, "envoy", &said(10, 500, None, 0));
        report(&mut server, NOW + second * SECOND, "b", &says(0, 10, 500, 0));
        let told = told(&mut server, NOW + second * SECOND);
        assert!(told.iter().all(|(client, _, _)| client == "envoy"), "{told:?}");
    }
    report(&mut server, NOW + 30 * SECOND, "b", &says(0, 10, 500, 0));
    let told = told(&mut server, NOW + 30 * SECOND);
    assert!(told.iter().any(|(client, _, _)| client == "b"), "{told:?}");
}

#[test]
fn what_is_released_is_anothers_at_once() {
    let mut server = server();
    report(&mut server, NOW, "a", &says(0, 10, 500, 0));
    let version = told(&mut server, NOW)[0].1;
    let gone = LeaseUsage { version, is_released: true, returned: 60 * MICRO, ..LeaseUsage::default() };
    report(&mut server, NOW + SECOND, "a", &said(0, 0, Some(gone), 1));
    report(&mut server, NOW + SECOND, "b", &says(0, 10, 500, 0));
    let given = told(&mut server, NOW + SECOND);
    assert!(matches!(given[..], [(ref client, _, 100)] if client == "b"), "{given:?}");
}

#[test]
fn an_unknown_limit_is_neither_admitted_nor_refused_by_the_server() {
    let mut server = server();
    let mut reports = says(0, 1, 0, 0);
    reports.usages[0].bucket_id = Some(Id::new("other", None).encode());
    report(&mut server, NOW, "a", &reports);
    let [(_, response)] = &server.poll(NOW)[..] else { panic!() };
    assert_eq!(response.actions[0].action, Some(Action::Abandon(Abandon { is_unknown: true })));
    assert_eq!(server.records().iter().count(), 0);
}

#[test]
fn a_limit_that_is_lowered_is_asked_back() {
    let mut server = server();
    report(&mut server, NOW, "a", &says(0, 10, 500, 0));
    let version = told(&mut server, NOW)[0].1;
    let less = Configured(Limit::token_bucket(30, Duration::from_secs(1), 30));
    server.report(NOW + SECOND, "a", &says(version, 10, 500, 1), &less).unwrap();
    assert!(matches!(told(&mut server, NOW + SECOND)[..], [(_, _, 30)]));
}

#[test]
fn streams_say_their_domain_once_and_keep_it() {
    let mut server = server();
    let limits = Configured(limit());
    let silent = Reports { domain: String::new(), ..says(0, 1, 0, 0) };
    assert_eq!(server.report(NOW, "a", &silent, &limits), Err(BadReport::NoDomain));
    report(&mut server, NOW, "a", &says(0, 1, 0, 0));
    server.report(NOW, "a", &silent, &limits).unwrap();
    let other = Reports { domain: "other".into(), ..says(0, 1, 0, 0) };
    let refused = server.report(NOW, "a", &other, &limits).unwrap_err();
    assert_eq!(refused.to_string(), "domain changed from fairway to other: open another stream");
    assert!(server.report(NOW, "nobody", &silent, &limits).is_err());
}

#[test]
fn what_a_server_keeps_is_bounded_and_bad_reports_are_passed_over() {
    let mut server = server();
    let usage = |pairs: Vec<(String, String)>| BucketUsage {
        bucket_id: Some(BucketId { bucket: pairs.into_iter().collect() }),
        ..BucketUsage::default()
    };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut usages = vec![
        BucketUsage::default(),
        usage(vec![]),
        usage(vec![pair("limit", "")]),
        usage(vec![pair("limit", &"x".repeat(3_000))]),
        usage((0..17).map(|n| pair(&n.to_string(), "x")).collect()),
    ];
    usages.extend((0..50).map(|key| usage(vec![pair("limit", "l"), pair("key", &key.to_string())])));
    let reports = Reports { domain: "fairway".into(), usages, sequence: u64::MAX, seen: u64::MAX };
    report(&mut server, NOW, "a", &reports);
    let counts = server.counts();
    assert_eq!(
        (counts.bad, counts.refused, server.records().iter().count()),
        (5, 42, 8),
        "of ten places one limit leaves two"
    );
    server.poll(NOW);
    assert!(server.next() <= NOW + SECOND);
    // Nobody comes back for them: their shares end, and they are full again.
    (1..=30).for_each(|second| {
        server.poll(NOW + second * SECOND);
    });
    assert_eq!(server.records().iter().count(), 0);
}

#[test]
fn whoever_fills_the_server_with_keys_leaves_a_place_for_every_other_limit() {
    let mut memory = Memory::new(1_000);
    let mut fill = |limit: &str, keys: u32| {
        let one = |key: u32| {
            let id = Id::new(limit, Some(&policies::lease::Key::of(key.to_string().as_bytes())));
            let record = Record::new(0, super::limit(), 0);
            memory.change(&("fairway".into(), id), Some(record), &mut |_| {})
        };
        (0..keys).map(one).filter(|is_kept| *is_kept).count()
    };
    assert_eq!(fill("attacked", 5_000), 800);
    assert_eq!(fill("attacked too", 5_000), 160);
    assert_eq!(fill("small", 10), 10);
    assert_eq!(fill("another", 5), 5);
    memory.retain(&mut |(_, id), _| id.limit() != Some("attacked"));
    let again = Id::new("attacked", None);
    assert!(memory.change(&("fairway".into(), again), Some(Record::new(0, limit(), 0)), &mut |_| {}));
    assert_eq!(memory.iter().count(), 176);
}
