//! Requests and configuration that try to be expensive.

use config::PathMatch;

use super::support::{
    backend, bind, compile, compiler, get, listener, messages, parent, path, prefix, removes, route, rule,
    upserts,
};

fn of(name: &str, at: PathMatch) -> (config::Key, config::Resource) {
    route(name, vec![parent("http", &["*"])], vec![rule(vec![path(at)], "a")])
}

#[test]
fn the_deepest_prefix_is_found_and_taken_out_again() {
    let deepest = "/a".repeat(512);
    let made = of("deep", PathMatch::Prefix(deepest.clone()));
    let mut compiler = compiler();
    let (snapshot, rejections) =
        compiler.apply(upserts([backend("a"), listener("http", 80, None), made.clone()]));
    assert!(rejections.is_empty());
    assert!(get(&snapshot, 80, "x", &format!("{deepest}/b")).contains("ns/deep#0"));
    assert!(get(&snapshot, 80, "x", &"/a".repeat(511)).ends_with("no rule"));
    let (snapshot, _) = compiler.apply(removes([made.0]));
    assert!(get(&snapshot, 80, "x", &deepest).ends_with("no rule"));
}

#[test]
fn a_path_longer_than_the_api_allows_is_told() {
    for at in [PathMatch::Prefix("/a".repeat(513)), PathMatch::Exact("/a".repeat(513))] {
        let (_, rejections) = compile([backend("a"), listener("http", 80, None), of("deep", at)]);
        assert_eq!(
            messages(&rejections),
            ["HttpRoute/ns/deep Degraded rules[0].matches[0].path: longer than 1024 bytes"]
        );
    }
}

#[test]
fn a_pattern_behind_a_very_long_literal_still_matches() {
    let literal = format!("{}/", "/a".repeat(2000));
    let (snapshot, rejections) = compile([
        backend("a"),
        listener("http", 80, None),
        of("long", PathMatch::Regex(format!("{literal}[0-9]+"))),
    ]);
    assert!(rejections.is_empty());
    assert!(get(&snapshot, 80, "x", &format!("{literal}42")).contains("ns/long#0"));
}

#[test]
fn a_path_of_a_thousand_slashes_walks_as_far_as_the_configuration() {
    let (snapshot, _) = compile([
        backend("a"),
        listener("http", 80, None),
        of("prefix", PathMatch::Prefix("/a".to_owned())),
        of("regex", PathMatch::Regex("/a/b/.*z".to_owned())),
    ]);
    for target in
        ["/a".repeat(20_000), format!("/a{}", "/".repeat(40_000)), format!("/a/b/{}", "x/".repeat(20_000))]
    {
        assert!(get(&snapshot, 80, "x", &target).contains("ns/prefix#0"));
    }
}

#[test]
fn a_pattern_made_to_backtrack_takes_linear_time() {
    let (snapshot, _) = compile([
        backend("a"),
        listener("http", 80, None),
        of("evil", PathMatch::Regex("/(a+)+b".to_owned())),
    ]);
    let target = format!("/{}", "a".repeat(30_000));
    // With backtracking this would not end.
    assert!(get(&snapshot, 80, "x", &target).ends_with("no rule"));
    assert!(get(&snapshot, 80, "x", &(target + "b")).contains("ns/evil#0"));
}

#[test]
fn hosts_of_any_shape_find_their_listener_or_none() {
    let (snapshot, _) = compile([
        backend("a"),
        listener("wild", 80, Some("*.test")),
        route("r", vec![parent("wild", &["*.a.test"])], vec![rule(vec![prefix("/")], "a")]),
    ]);
    let table = &snapshot.ports[&bind(80)].routes;
    let labels = ["a"; 126].join(".");
    assert!(get(&snapshot, 80, &format!("{labels}.test"), "/").contains("ns/r#0"));
    for host in ["", ".", "..", "test", ".test.", "a.test.", "*.test.", &labels, "ä.b", "[::1]"] {
        assert!(table.listener(host).is_none(), "{host}");
    }
}

#[test]
fn many_patterns_in_one_place_keep_their_order_through_changes() {
    // More than a chunk, all passing the root, each longer than the one before.
    let pattern = |at: usize| PathMatch::Regex(format!("/[a-z]*{}", "x?".repeat(at)));
    let mut compiler = compiler();
    let _ = compiler.apply(upserts([backend("a"), listener("http", 80, None)]));
    let (snapshot, _) = compiler.apply(upserts((0..50).map(|at| of(&format!("r{at}"), pattern(at)))));
    assert!(get(&snapshot, 80, "x", "/q").contains("ns/r49#0"));
    let mut expected = 49;
    for gone in [49, 20, 48, 47, 3] {
        let (snapshot, _) =
            compiler.apply(removes([config::Key::new(config::Kind::HttpRoute, "ns", format!("r{gone}"))]));
        if gone == expected {
            expected -= 1;
        }
        assert!(get(&snapshot, 80, "x", "/q").contains(&format!("ns/r{expected}#0")), "after r{gone}");
    }
    let (snapshot, _) = compiler.apply(upserts([of("r20", pattern(60))]));
    assert!(get(&snapshot, 80, "x", "/q").contains("ns/r20#0"));
}
