use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;

use super::proto::{Code, Descriptor, Entry, Override, Request};
use super::*;

/// The configuration files of `envoyproxy/ratelimit`, from where Go keeps modules; `.ci/install` fetches them.
fn theirs() -> PathBuf {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/vectors");
    let found = Command::new("go")
        .args(["mod", "download", "-json", "github.com/envoyproxy/ratelimit"])
        .current_dir(module)
        .output()
        .expect("Go is missing: it fetches the files of envoyproxy/ratelimit (README.md)");
    let found: serde_json::Value = serde_json::from_slice(&found.stdout).expect("what Go says");
    let dir = found["Dir"].as_str();
    PathBuf::from(dir.unwrap_or_else(|| panic!("the files cannot be had; run .ci/install: {found}")))
}

fn load(names: &[&str], merges: bool) -> Result<Limits, BadFile> {
    let dir = theirs();
    let read = |name: &&str| {
        let text = std::fs::read_to_string(dir.join("test/config").join(name)).expect(name);
        File::read(name, &text)
    };
    Limits::of(&names.iter().map(read).collect::<Result<Vec<_>, _>>()?, merges)
}

/// What its own tests say of each of its files.
#[test]
fn its_files_are_taken_or_refused_as_it_does() {
    for (names, merges, says) in [
        (&["basic_config.yaml"][..], false, ""),
        (&["shadowmode_config.yaml"], false, ""),
        (&["share_threshold.yaml"], false, ""),
        (&["wildcard.yaml"], false, ""),
        (&["merge_domain_key1.yaml", "merge_domain_key2.yaml"], true, ""),
        (&["duplicate_domain.yaml"], false, ""),
        (&["empty_domain.yaml"], false, "empty_domain.yaml: config file cannot have empty domain"),
        (
            &["basic_config.yaml", "duplicate_domain.yaml"],
            false,
            "duplicate_domain.yaml: duplicate domain 'test-domain' in config file",
        ),
        (&["empty_key.yaml"], false, "empty_key.yaml: descriptor has empty key"),
        (
            &["duplicate_key.yaml"],
            false,
            "duplicate_key.yaml: duplicate descriptor composite key 'test-domain.key1_value1'",
        ),
        (
            &["merge_domain_key1.yaml", "merge_domain_key1.yaml"],
            true,
            "merge_domain_key1.yaml: duplicate descriptor composite key 'test-domain.key1_value1'",
        ),
        (&["bad_limit_unit.yaml"], false, "bad_limit_unit.yaml: invalid rate limit unit 'foo'"),
        (
            &["replaces_self.yaml"],
            false,
            "replaces_self.yaml: replaces should not contain name of same descriptor",
        ),
        (&["replaces_empty.yaml"], false, "replaces_empty.yaml: should not have an empty replaces entry"),
        (&["bad_yaml.yaml"], false, "bad_yaml.yaml: cannot be read"),
        (&["misspelled_key.yaml"], false, "misspelled_key.yaml: cannot be read"),
        (&["misspelled_key2.yaml"], false, "misspelled_key2.yaml: cannot be read"),
        (&["non_string_key.yaml"], false, "non_string_key.yaml: cannot be read"),
        (&["non_map_list.yaml"], false, "non_map_list.yaml: cannot be read"),
        (
            &["unlimited_with_unit.yaml"],
            false,
            "unlimited_with_unit.yaml: should not specify rate limit unit when unlimited",
        ),
    ] {
        let said = load(names, merges).map_or_else(|bad| bad.to_string(), |_| String::new());
        assert!(if says.is_empty() { said.is_empty() } else { said.starts_with(says) }, "{names:?}: {said}");
    }
    let examples = std::fs::read_dir(theirs().join("examples/ratelimit/config")).unwrap();
    for path in examples.map(|entry| entry.unwrap().path()) {
        let text = std::fs::read_to_string(&path).unwrap();
        File::read("example", &text).and_then(|file| Limits::of(&[file], false)).unwrap();
    }
}

#[test]
fn the_example_of_its_page_loads() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/rls.md")).unwrap();
    let text = page.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let limits = Limits::of(&[File::read("rls.md", text).unwrap()], false).unwrap();
    let mut asked = request(vec![descriptor(&[("tenant", "a"), ("path", "/search?q=b")])]);
    asked.domain = "edge".into();
    let said = decide(&limits, &Counters::new(1), &asked, 0).unwrap();
    assert_eq!(said.statuses[0].current_limit.as_ref().unwrap().requests_per_unit, 60);
}

fn descriptor(entries: &[(&str, &str)]) -> Descriptor {
    let entry = |(key, value): &(&str, &str)| Entry { key: (*key).into(), value: (*value).into() };
    Descriptor { entries: entries.iter().map(entry).collect(), ..Descriptor::default() }
}

fn request(descriptors: Vec<Descriptor>) -> Request {
    Request { domain: "test-domain".into(), descriptors, hits_addend: 0 }
}

/// A domain, a descriptor, and its limit: none, or how many per what.
type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<(u32, Unit)>);

#[test]
fn a_descriptor_has_the_limit_that_theirs_gives_it() {
    use Unit::{Day, Hour, Minute, Second};
    let rows: &[Row<'_>] = &[
        ("basic_config.yaml", &[], None),
        ("basic_config.yaml", &[("key1", "something")], None),
        ("basic_config.yaml", &[("key1", "value1")], None),
        ("basic_config.yaml", &[("key2", "value2"), ("subkey", "subvalue")], None),
        ("basic_config.yaml", &[("key5", "value5"), ("subkey5", "subvalue")], None),
        ("basic_config.yaml", &[("key5", "value5"), ("subkey5", "subvalue5")], Some((25, Day))),
        ("basic_config.yaml", &[("key1", "value1"), ("subkey1", "something")], Some((5, Second))),
        ("basic_config.yaml", &[("key1", "value1"), ("subkey1", "subvalue1")], Some((10, Second))),
        ("basic_config.yaml", &[("key2", "something")], Some((20, Minute))),
        ("basic_config.yaml", &[("key2", "value2")], Some((30, Minute))),
        ("basic_config.yaml", &[("key2", "value3")], None),
        ("basic_config.yaml", &[("key3", "foo")], Some((1, Hour))),
        ("basic_config.yaml", &[("key4", "foo")], Some((1, Day))),
        ("basic_config.yaml", &[("key6", "foo")], None),
        ("wildcard.yaml", &[("noVal", "foo1")], Some((20, Minute))),
        ("wildcard.yaml", &[("wild", "foo1")], Some((20, Minute))),
        ("wildcard.yaml", &[("nestedWild", "val1"), ("wild", "goo2")], Some((20, Minute))),
        ("wildcard.yaml", &[("wild", "bar")], None),
        ("wildcard.yaml", &[("noWild", "foo1")], None),
        ("wildcard.yaml", &[("midWildcard", "barab")], None),
        ("share_threshold.yaml", &[("files", "files/a")], Some((100, Minute))),
        ("share_threshold.yaml", &[("files", "top/a"), ("files", "nested/b")], Some((300, Minute))),
        ("share_threshold.yaml", &[("file", "test1")], Some((50, Minute))),
        ("share_threshold.yaml", &[("file", "test2")], Some((100, Minute))),
    ];
    for (file, entries, wanted) in rows {
        let limits = load(&[file], false).unwrap();
        let status = &decide(&limits, &Counters::new(100), &request(vec![descriptor(entries)]), 7).unwrap();
        let found = status.statuses[0].current_limit.as_ref();
        let found = found.map(|limit| (limit.requests_per_unit, limit.unit));
        assert_eq!(found, wanted.map(|(most, unit)| (most, unit.number())), "{file} {entries:?}");
    }
}

fn limits(text: &str) -> Limits {
    Limits::of(&[File::read("test", text).unwrap()], false).unwrap()
}

fn codes(
    limits: &Limits,
    counters: &Counters,
    descriptors: Vec<Descriptor>,
    now: u64,
) -> (Code, Vec<(Code, u32)>) {
    let said = decide(limits, counters, &request(descriptors), now).unwrap();
    let each = said.statuses.iter().map(|status| (status.code(), status.limit_remaining)).collect();
    (said.overall_code(), each)
}

#[test]
fn a_window_admits_its_limit_and_begins_at_a_full_unit() {
    let (limits, counters) = (load(&["basic_config.yaml"], false).unwrap(), Counters::new(100));
    let ask = |now| codes(&limits, &counters, vec![descriptor(&[("key2", "a")])], now);
    for left in (0..20).rev() {
        assert_eq!(ask(119), (Code::Ok, vec![(Code::Ok, left)]));
    }
    assert_eq!(ask(119), (Code::OverLimit, vec![(Code::OverLimit, 0)]));
    assert_eq!(ask(120), (Code::Ok, vec![(Code::Ok, 19)]));
    let said = decide(&limits, &counters, &request(vec![descriptor(&[("key2", "a")])]), 130).unwrap();
    assert_eq!(said.statuses[0].duration_until_reset.unwrap().seconds, 50);
}

#[test]
fn one_descriptor_that_is_over_is_enough_and_all_are_counted() {
    let (limits, counters) = (load(&["basic_config.yaml"], false).unwrap(), Counters::new(100));
    let both = || vec![descriptor(&[("key3", "a")]), descriptor(&[("key2", "a")])];
    assert_eq!(codes(&limits, &counters, both(), 0).0, Code::Ok);
    let (overall, each) = codes(&limits, &counters, both(), 0);
    assert_eq!((overall, each), (Code::OverLimit, vec![(Code::OverLimit, 0), (Code::Ok, 18)]));
}

#[test]
fn a_cost_is_what_the_request_or_else_its_descriptor_says() {
    let (limits, counters) = (load(&["basic_config.yaml"], false).unwrap(), Counters::new(100));
    let left = |all, own| {
        let mut asked = request(vec![descriptor(&[("key2", "a")])]);
        asked.hits_addend = all;
        asked.descriptors[0].hits_addend = own;
        decide(&limits, &counters, &asked, 0).unwrap().statuses[0].limit_remaining
    };
    assert_eq!(left(0, None), 19);
    assert_eq!(left(3, None), 16);
    assert_eq!(left(3, Some(5)), 11);
    assert_eq!((left(3, Some(0)), left(0, Some(0))), (11, 11));
    assert_eq!(left(0, Some(u64::MAX)), 0);
    assert_eq!(left(0, Some(u64::MAX)), 0);
}

#[test]
fn a_request_may_bring_its_limit() {
    let (limits, counters) = (load(&["basic_config.yaml"], false).unwrap(), Counters::new(100));
    let mut asked = request(vec![descriptor(&[("whatever", "a")])]);
    asked.descriptors[0].limit = Some(Override { requests_per_unit: 1, unit: 4 });
    assert_eq!(decide(&limits, &counters, &asked, 0).unwrap().overall_code(), Code::Ok);
    assert_eq!(decide(&limits, &counters, &asked, 0).unwrap().overall_code(), Code::OverLimit);
    asked.descriptors[0].limit = Some(Override { requests_per_unit: 1, unit: 0 });
    assert_eq!(decide(&limits, &counters, &asked, 0), Err(Asked::NoUnit));
    asked.domain = "other".into();
    assert_eq!(decide(&limits, &counters, &asked, 0).unwrap().overall_code(), Code::Ok);
}

#[test]
fn shadow_and_quota_mode_count_and_refuse_nobody() {
    for mode in ["shadow_mode", "quota_mode"] {
        let limits = limits(&format!(
            "domain: test-domain\ndescriptors:\n- {{key: a, {mode}: true, rate_limit: {{unit: hour, requests_per_unit: 0}}}}"
        ));
        let (overall, each) = codes(&limits, &Counters::new(9), vec![descriptor(&[("a", "b")])], 0);
        assert_eq!((overall, each), (Code::Ok, vec![(Code::Ok, 0)]), "{mode}");
    }
}

#[test]
fn a_limit_that_another_replaces_does_not_count() {
    let limits = limits(
        "domain: test-domain\ndescriptors:\n\
         - {key: all, rate_limit: {unit: hour, requests_per_unit: 0, name: all}}\n\
         - {key: friend, rate_limit: {unit: hour, requests_per_unit: 5, replaces: [{name: all}]}}\n\
         - {key: free, rate_limit: {unlimited: true, replaces: [{name: all}]}}",
    );
    let ask = |keys: &[&str]| {
        let descriptors = keys.iter().map(|key| descriptor(&[(key, "x")])).collect();
        codes(&limits, &Counters::new(9), descriptors, 0)
    };
    assert_eq!(ask(&["all"]).0, Code::OverLimit);
    assert_eq!(ask(&["all", "friend"]), (Code::Ok, vec![(Code::Ok, 0), (Code::Ok, 4)]));
    assert_eq!(ask(&["free", "all"]), (Code::Ok, vec![(Code::Ok, u32::MAX), (Code::Ok, 0)]));
}

#[test]
fn values_under_one_wildcard_share_a_counter_where_that_is_said() {
    let limits = load(&["share_threshold.yaml"], false).unwrap();
    let counters = Counters::new(100);
    let left = |entries: &[(&str, &str)]| codes(&limits, &counters, vec![descriptor(entries)], 0).1[0].1;
    assert_eq!((left(&[("files", "files/a")]), left(&[("files", "files/b")])), (99, 98));
    // Of these only the first has one for all.
    let path = |file: &str| left(&[("path", "path/x"), ("file", file), ("type", "t")]);
    assert_eq!((path("file/a"), path("file/b"), path("file/a")), (119, 119, 118));
}

#[test]
fn what_a_request_cannot_ask_is_an_error() {
    let (limits, counters) = (Limits::default(), Counters::new(1));
    let ask = |request: &Request| decide(&limits, &counters, request, 0).unwrap_err();
    assert_eq!(ask(&Request::default()), Asked::NoDomain);
    assert_eq!(ask(&request(Vec::new())), Asked::NoDescriptor);
    assert_eq!(ask(&request(vec![descriptor(&[("a", &"x".repeat(20_000))])])), Asked::TooMuch);
    assert_eq!(ask(&request(vec![Descriptor::default(); 257])), Asked::TooMuch);
}

#[test]
fn a_flood_of_keys_frees_nobody_and_takes_bounded_memory() {
    let limits = limits(
        "domain: test-domain\ndescriptors:\n- {key: a, rate_limit: {unit: hour, requests_per_unit: 2}}",
    );
    let counters = Counters::new(1_600);
    let ask = |value: &str| codes(&limits, &counters, vec![descriptor(&[("a", value)])], 0).0;
    assert_eq!((ask("known"), ask("known")), (Code::Ok, Code::Ok));
    for turn in 0..20_000 {
        ask(&turn.to_string());
        if turn % 1_000 == 0 {
            assert_eq!(ask("known"), Code::OverLimit);
        }
    }
    assert!(counters.len() <= 1_616, "{}", counters.len());
    // Nor does one without a place of its own get more than others.
    assert!((0..3).map(|_| ask("late")).any(|code| code == Code::OverLimit));
    // Places come free with the window.
    codes(&limits, &counters, vec![descriptor(&[("a", "next")])], 3_600);
    assert!(counters.len() < 1_616);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[a-z_:\\-\\[\\]{}'\" \n]{0,80}") {
        let _ = File::read("any", &text).and_then(|file| Limits::of(&[file], false));
    }
}
