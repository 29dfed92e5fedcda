//! Answers that are kept.

use super::bodies::{comes, shown};
use super::*;

pub(super) fn kept(policy: ExtAuth, keys: &[&str]) -> ExtAuth {
    let settings = CacheSettings {
        ttl: Duration(time::Duration::from_mins(1)),
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        max_entries: 1_024,
    };
    ExtAuth { cache: Some(settings), ..policy }
}

#[test]
fn an_answer_is_kept_for_those_who_ask_the_same_and_no_failure_is() {
    let cached = kept(policy(), &["Authorization", "X-Tenant"]);
    let (filter, net) = (cached.compile(&Scene).unwrap(), Arc::new(Admits::default()));
    let asked = |target: &str, fields: &[(&'static str, &str)]| {
        let before = net.asked.load(Ordering::Relaxed);
        ask(&filter, &mut request(target, fields), &net).unwrap();
        net.asked.load(Ordering::Relaxed) - before
    };
    assert_eq!(asked("/", &[("Authorization", "a")]), 1);
    assert_eq!(asked("/", &[("Authorization", "a"), ("X-Other", "b")]), 0);
    for (target, fields) in [
        ("/", &[][..]),
        ("/", &[("Authorization", "b")]),
        ("/", &[("X-Tenant", "a")]),
        ("/", &[("Authorization", "a"), ("X-Tenant", "")]),
        ("/", &[("X-Tenant", "b"), ("X-Tenant", "c")]),
        ("/", &[("Authorization", "b"), ("X-Tenant", "c")]),
        ("/", &[("Authorization", "b"), ("Authorization", "c")]),
        ("/", &[("Authorization", "a"), ("Authorization", "a")]),
        ("/?a", &[("Authorization", "a")]),
        ("/b", &[("Authorization", "a")]),
    ] {
        assert_eq!((asked(target, fields), asked(target, fields)), (1, 0), "{target} {fields:?}");
    }
    let failing = Arc::new(Admits { fails: true, ..Admits::default() });
    for _ in 0..2 {
        assert_eq!(ask(&filter, &mut request("/c", &[]), &failing).unwrap_err().reason, "ext_auth_error");
    }
    assert_eq!(failing.asked.load(Ordering::Relaxed), 2);
    assert_eq!(asked("/c", &[]), 1);
}

#[test]
fn an_answer_is_kept_for_the_same_body_only() {
    let cached = kept(shown(3, true, false), &["Authorization"]);
    let (filter, net) = (cached.compile(&Scene).unwrap(), Arc::new(Admits::default()));
    for body in [None, Some(comes(b"abc", true)), Some(comes(b"abd", true)), Some(comes(b"abcd", true))] {
        for asks in [1, 0] {
            let before = net.asked.load(Ordering::Relaxed);
            ask_with(
                &filter,
                &mut request("/", &[]),
                &net,
                body.clone().map(|body| body as Arc<dyn Incoming>),
            )
            .unwrap();
            assert_eq!(net.asked.load(Ordering::Relaxed) - before, asks, "{body:?}");
        }
    }
}
