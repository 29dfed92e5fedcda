use super::*;
use crate::lease::{Grant, Key as LeaseKey};

/// The rules of `global`, compiled, and their tables.
fn global(rules: serde_json::Value) -> (RateLimitFilter, Scene) {
    let scene = Scene::default();
    let filter = policy(json!({ "global": { "rules": rules } })).compile(&scene).unwrap();
    (filter, scene)
}

fn leased(scene: &Scene, limit: &str) -> Arc<Leased> {
    Arc::clone(&scene.1.lock()[limit])
}

/// Leases all of a limit to each bucket there is.
fn lease(leased: &Leased) {
    let (table, now) = (leased.table(), nanos(NOW.get()));
    let terms = table.terms();
    let grant = Grant { share: Some(terms.limit.whole()), tokens: None, expires: u64::MAX, version: 1 };
    table.each(|_, bucket| {
        bucket.assign(now, grant, &terms);
    });
}

fn keys(leased: &Leased) -> Vec<String> {
    let mut keys = Vec::new();
    leased.table().each(|key, _| keys.extend(key.map(LeaseKey::as_str).map(str::to_owned)));
    keys.sort();
    keys
}

#[test]
fn a_proxy_admits_a_quarter_until_it_has_a_share_and_then_what_that_leaves_of_it() {
    let limit = json!({ "name": "all", "shared": true, "limit": { "requests": 40, "unit": "Second" } });
    let (filter, scene) = global(json!([limit]));
    assert_eq!((0..50).filter(|_| passes(&filter, get("/", &[]))).count(), 10);
    lease(&leased(&scene, "all"));
    assert_eq!((0..50).filter(|_| passes(&filter, get("/", &[]))).count(), 30);
    let (refusal, rsp) = send(&filter, get("/", &[]), context());
    assert_eq!(refusal.unwrap().status, 429);
    assert_eq!(field(&rsp, "ratelimit-policy"), Some(r#""all";q=40;w=1"#));
    assert_eq!(field(&rsp, "ratelimit"), Some(r#""all";r=0;t=1"#));
    let leased = leased(&scene, "all");
    assert_eq!((leased.admitted(), leased.denied()), (40, 61));
}

#[test]
fn routes_have_limits_of_their_own_unless_they_share_one_and_keys_can_be_read() {
    let limit = json!({ "requests": 4, "unit": "Second" });
    let user = json!([{ "headers": [{ "type": "Distinct", "name": "x-user" }] }]);
    let (filter, scene) = global(json!([
        { "name": "route", "limit": limit },
        { "name": "user", "limit": limit, "clientSelectors": user, "shared": true },
        { "name": "both", "limit": limit, "clientSelectors": user },
    ]));
    assert!(passes(&filter, get("/", &[("x-user", "alice")])));
    assert_eq!(keys(&leased(&scene, "route")), ["9:HTTPRoute3:a/b"]);
    // What clients send may be a secret, and others are told a key.
    assert_eq!(keys(&leased(&scene, "user")), ["2bd806c97f0e00af1a1fc3328fa763a9"]);
    assert_eq!(keys(&leased(&scene, "both")), ["9:HTTPRoute3:a/b32:2bd806c97f0e00af1a1fc3328fa763a9"]);
}

#[test]
fn whoever_is_refused_by_one_limit_takes_nothing_of_another() {
    let selectors = json!([{ "path": { "value": "/costly" } }]);
    let (filter, scene) = global(json!([
        { "name": "wide", "shared": true, "limit": { "requests": 40, "unit": "Hour" } },
        { "name": "narrow", "shared": true, "limit": { "requests": 4, "unit": "Hour" }, "clientSelectors": selectors },
    ]));
    ["wide", "narrow"].into_iter().for_each(|limit| lease(&leased(&scene, limit)));
    assert_eq!((0..100).filter(|_| passes(&filter, get("/costly", &[]))).count(), 4);
    assert_eq!((0..100).filter(|_| passes(&filter, get("/", &[]))).count(), 36);
    let usage = |limit| {
        let leased = leased(&scene, limit);
        let mut allowed = 0;
        leased.table().each(|_, bucket| {
            allowed += bucket.report(nanos(NOW.get()), &leased.table().terms()).allowed;
        });
        (allowed, leased.admitted(), leased.denied())
    };
    assert_eq!(usage("wide"), (40, 40, 64));
    assert_eq!(usage("narrow"), (4, 4, 96));
}

#[test]
fn a_window_slides_and_costs_come_with_responses_too() {
    let cost = json!({ "response": { "from": "Header", "header": "x-cost" } });
    let limit = json!({ "requests": 12, "unit": "Minute", "algorithm": "SlidingWindow" });
    let (filter, scene) = global(json!([{ "name": "w", "shared": true, "limit": limit, "cost": cost }]));
    lease(&leased(&scene, "w"));
    // One for each request, three for its response.
    assert_eq!((0..20).filter(|_| passes(&filter, get("/", &[]))).count(), 3);
    wait(Duration::from_secs(59));
    assert!(!passes(&filter, get("/", &[])));
    wait(Duration::from_secs(1));
    assert!(passes(&filter, get("/", &[])));
}

#[test]
fn a_quota_server_is_told_of_the_same_limits() {
    let spec = json!({ "global": {
        "onQuotaLost": { "keepShareFor": "2m", "then": "Closed" },
        "rules": [
            { "shared": true, "limit": { "requests": 10, "unit": "Minute", "burst": 3 } },
            { "name": "w", "limit": { "requests": 5, "unit": "Day", "algorithm": "SlidingWindow" } },
        ],
    } });
    let shared = policy(spec).shared();
    let [first, second] = &shared[..] else { panic!("{shared:?}") };
    assert_eq!((first.name.as_str(), first.is_keyed), ("global-0", false));
    assert_eq!(first.terms.limit, crate::lease::Limit::token_bucket(10, Duration::from_mins(1), 3));
    assert_eq!(first.terms.reuse, 120_000_000_000);
    assert_eq!(first.terms.expired, crate::lease::Expired::Closed);
    assert_eq!((second.name.as_str(), second.is_keyed), ("w", true));
    assert_eq!(second.terms.limit, crate::lease::Limit::sliding_window(5, Duration::from_hours(24)));
}

#[test]
fn what_cannot_be_held_is_refused_by_name() {
    let limit = json!({ "requests": 1, "unit": "Second" });
    let window = json!({ "requests": 1, "unit": "Second", "algorithm": "SlidingWindow" });
    let burst = json!({ "requests": 1, "unit": "Second", "algorithm": "SlidingWindow", "burst": 2 });
    let one = |limit: &serde_json::Value| json!([{ "name": "a", "limit": limit }]);
    for (spec, wanted) in [
        (json!({ "global": { "rules": [] } }), "global.rules: holds 0 rules"),
        (
            json!({ "global": { "rules": one(&burst) } }),
            "global.rules[0].limit.burst: a sliding window has no burst",
        ),
        (
            json!({ "local": { "rules": one(&window) } }),
            "local.rules[0].limit.algorithm: SlidingWindow is for",
        ),
        (
            json!({ "local": { "rules": one(&limit) }, "global": { "rules": one(&limit) } }),
            "global.rules[0].name: \"a\" is taken",
        ),
        (
            json!({ "global": { "rules": one(&limit), "onQuotaLost": { "keepShareFor": "2h" } } }),
            "global.onQuotaLost.keepShareFor: is 2h; use 0s to 1h",
        ),
    ] {
        let error = policy(spec).compile(&Scene::default()).unwrap_err().to_string();
        assert!(error.starts_with(wanted), "{error}");
    }
}

#[test]
fn whoever_lets_clients_decide_how_many_keys_there_are_is_told_what_that_costs() {
    let limit = json!({ "requests": 1, "unit": "Second" });
    let distinct = json!([{ "sourceCIDR": { "type": "Distinct" } }]);
    let spec = |selectors: &serde_json::Value| {
        policy(json!({ "global": { "rules": [{ "limit": limit, "clientSelectors": selectors }] } }))
    };
    let notes = spec(&distinct).notes();
    assert!(
        notes[0].starts_with("rateLimit.global: global-0: clients decide how many keys there are"),
        "{notes:?}"
    );
    assert!(spec(&json!([{ "path": { "value": "/a" } }])).notes().is_empty());
}

#[test]
#[ignore = "figures, for a build with optimisation"]
fn what_a_request_costs() {
    let cost = |rules: serde_json::Value, fields: &[(&'static str, &str)]| {
        let (filter, scene) = global(rules);
        let (mut req, mut ctx) = (get("/", fields), context());
        let _ = filter.request(&mut req, &mut ctx, &mut filter::Shares::default());
        lease(&leased(&scene, "l"));
        let began = std::time::Instant::now();
        let times = 200_000u32;
        for _ in 0..times {
            let mut shares = filter::Shares::default();
            assert!(matches!(filter.request(&mut req, &mut ctx, &mut shares), Verdict::Continue));
        }
        began.elapsed() / times
    };
    let limit = json!({ "requests": 4_000_000, "unit": "Second" });
    let user = json!([{ "headers": [{ "type": "Distinct", "name": "x-user" }] }]);
    let one = json!([{ "name": "l", "shared": true, "limit": limit }]);
    let each = json!([{ "name": "l", "shared": true, "limit": limit, "clientSelectors": user }]);
    eprintln!("one for all: {:?}", cost(one, &[]));
    eprintln!("one for each user: {:?}", cost(each, &[("x-user", "alice")]));
}
