use proptest::prelude::*;

use super::*;

fn places(from: ExtractFrom) -> Places {
    Places::compile("extractFrom", &[from]).unwrap()
}

fn request(target: &str, cookies: &[String]) -> Request {
    let mut req = Request::build("GET", target.as_bytes(), None).unwrap();
    for cookie in cookies {
        req.append_header("Cookie", cookie.as_str()).unwrap();
    }
    req
}

proptest! {
    /// What is removed is not found any more, and what else there was is still there, in order.
    #[test]
    fn a_parameter_is_removed_and_nothing_else(
        pairs in prop::collection::vec(("(k|%6b|%6B|a|b|K|)", "(=[a-c%0-9]{0,3})?"), 0..6),
    ) {
        let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}{value}")).collect();
        let is_named = |pair: &&String| {
            let name = pair.split('=').next().unwrap();
            ["k", "%6b", "%6B"].contains(&name)
        };
        let places = places(ExtractFrom { params: vec!["k".into()], ..ExtractFrom::default() });
        let mut req = request(&format!("/p?{}", pairs.join("&")), &[]);
        let found = match places.find(&req) {
            Found::Nothing => 0,
            Found::One(_) => 1,
            Found::Several => 2,
        };
        let named = pairs.iter().filter(is_named).count();
        prop_assert_eq!(found, named.min(2));
        places.remove(&mut req);
        prop_assert_eq!(places.find(&req), Found::Nothing);
        let rest: Vec<&String> = pairs.iter().filter(|pair| !is_named(pair)).collect();
        if named > 0 {
            let rest: Vec<&str> = rest.into_iter().map(String::as_str).collect();
            let want = if rest.is_empty() { String::new() } else { rest.join("&") };
            prop_assert_eq!(req.uri.query().unwrap_or_default(), want);
        }
        prop_assert_eq!(req.uri.path(), "/p");
    }

    #[test]
    fn a_cookie_is_removed_and_nothing_else(
        fields in prop::collection::vec(prop::collection::vec(("(k|a|b|K)", "[a-c=\"]{0,3}"), 1..4), 0..3),
    ) {
        let pairs = |fields: &[Vec<(String, String)>], is_kept: fn(&str) -> bool| -> Vec<String> {
            fields
                .iter()
                .map(|field| {
                    let kept = field.iter().filter(|(name, _)| is_kept(name));
                    kept.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
                })
                .filter(|field| !field.is_empty())
                .collect()
        };
        let places = places(ExtractFrom { cookies: vec!["k".into()], ..ExtractFrom::default() });
        let mut req = request("/", &pairs(&fields, |_| true));
        let values: Vec<&String> =
            fields.iter().flatten().filter(|(name, _)| name == "k").map(|(_, value)| value).collect();
        match places.find(&req) {
            Found::Nothing => prop_assert_eq!(values.len(), 0),
            Found::One(value) => {
                prop_assert_eq!(values.len(), 1);
                prop_assert_eq!(&*value, values[0].as_bytes());
            }
            Found::Several => prop_assert!(values.len() > 1),
        }
        places.remove(&mut req);
        prop_assert_eq!(places.find(&req), Found::Nothing);
        let left: Vec<&str> =
            req.headers.get_all("cookie").iter().map(|value| value.to_str().unwrap()).collect();
        prop_assert_eq!(left, pairs(&fields, |name| name != "k"));
        req.map(|_, _| Ok(())).unwrap();
    }
}

#[test]
fn a_bearer_is_no_part_of_the_credential_and_has_no_case() {
    for (value, want) in [
        (&b"Bearer abc"[..], &b"abc"[..]),
        (b"BEARER  abc", b"abc"),
        (b"Bearer", b"Bearer"),
        (b"Bearerabc", b"Bearerabc"),
        (b"abc", b"abc"),
        (b"", b""),
    ] {
        assert_eq!(without_scheme(value), want);
    }
}
