//! Tokens that were verified before.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::super::cache::{Cache, Sought};
use super::super::claims::Verified;
use super::super::fields::Fields;
use super::signer::Signer;
use super::{Fault, NOW, bearer, claims, decide, filter};

/// A token of this number.
fn token(number: u64) -> String {
    format!("head.payload{number}.signature{number}")
}

/// Verified, with a claim that takes so many bytes.
fn verified(number: u64, bytes: usize, exp: i64) -> Arc<Verified> {
    let token = token(number);
    let claims = json!({ "exp": exp, "number": number, "text": "x".repeat(bytes) });
    let mark = Sought::new(token.as_bytes()).mark(token.rfind('.').unwrap());
    let fields = Arc::new(Fields::new([]));
    Arc::new(Verified::new(mark, claims.as_object().unwrap().clone(), &fields).unwrap())
}

fn find(cache: &Cache, token: &str) -> Option<Arc<Verified>> {
    cache.get(Sought::new(token.as_bytes())).and_then(|found| found.clone())
}

#[test]
fn a_verified_token_is_found_by_all_of_it() {
    let cache = Cache::default();
    let (one, text) = (verified(1, 100, NOW + 10), token(1));
    assert!(find(&cache, &text).is_none());
    cache.put(one.clone(), NOW);
    assert!(Arc::ptr_eq(&find(&cache, &text).unwrap(), &one));
    for at in 0..text.len() {
        let mut near = text.clone().into_bytes();
        near[at] ^= 1;
        assert!(find(&cache, std::str::from_utf8(&near).unwrap()).is_none(), "{at}");
        assert!(find(&cache, &text[..at]).is_none(), "{at}");
    }
    assert!(find(&cache, &format!("{text}x")).is_none());
}

/// Were two hashes the same, the bytes would still tell tokens apart.
#[test]
fn a_token_is_not_known_by_its_hash_alone() {
    let mark = |token: &str| Sought::new(token.as_bytes()).mark(token.rfind('.').unwrap());
    let one = mark("head.payload.signature");
    assert!(one.is_of(Sought::new(b"head.payload.signature")));
    for other in ["head.payload.signaturE", "head.payloaD.signature", "head.payload.", "head.payload", ""] {
        assert!(!one.is_of(Sought::colliding(other.as_bytes(), &one)), "{other}");
    }
}

#[test]
fn the_cache_is_bounded_by_bytes_and_slots() {
    let cache = Cache::default();
    for number in 0..4_000 {
        cache.put(verified(number, 48 << 10, NOW + 10), NOW);
    }
    assert!(cache.bytes() <= 32 << 20, "{}", cache.bytes());
    assert!(cache.bytes() > 16 << 20, "{}", cache.bytes());
    assert!(find(&cache, &token(3_999)).is_some(), "what was put last is there");
    let held = (0..4_000).filter(|number| find(&cache, &token(*number)).is_some()).count();
    assert!((100..=4096).contains(&held), "{held}");
}

/// `{"a":0}` takes some eight bytes of a token and some six hundred of memory.
#[test]
fn claims_weigh_what_they_take_in_memory() {
    let cache = Cache::default();
    let list = vec![json!({ "a": 0 }); 700];
    let claims = json!({ "exp": NOW + 10, "list": list });
    let text = token(1);
    let mark = || Sought::new(text.as_bytes()).mark(text.rfind('.').unwrap());
    let fields = Arc::new(Fields::new([]));
    let heavy = Verified::new(mark(), claims.as_object().unwrap().clone(), &fields).unwrap();
    assert!((700 * 300..700 * 1_200).contains(&heavy.weight), "{}", heavy.weight);
    cache.put(Arc::new(heavy), NOW);
    assert!(find(&cache, &text).is_none(), "it is too heavy to be kept");
    assert_eq!(cache.bytes(), 0);
}

#[test]
fn an_expired_token_makes_place_first() {
    let cache = Cache::default();
    cache.put(verified(7, 1, NOW - 1), NOW - 100);
    for number in 0..10_000 {
        cache.put(verified(number + 100, 1, NOW + 5), NOW);
    }
    cache.put(verified(8, 1, NOW + 10), NOW);
    assert!(find(&cache, &token(8)).is_some());
    // All slots had a token that is over first.
    let cache = Cache::default();
    (0..20_000).for_each(|number| cache.put(verified(number, 1, NOW + 1), NOW));
    (0..1_000).for_each(|number| cache.put(verified(100_000 + number, 1, NOW + 10), NOW + 2));
    let found = (0..1_000).filter(|number| find(&cache, &token(100_000 + number)).is_some()).count();
    assert!(found > 700, "{found}");
}

#[test]
fn of_two_tokens_in_the_places_of_a_third_the_one_that_expires_first_makes_place() {
    // Tokens with one hash.
    let texts: Vec<String> = (0..9).map(token).collect();
    let first = texts.iter().map(|text| Sought::new(text.as_bytes())).find(|sought| sought.has_two_places());
    let first = first.unwrap().mark(4);
    let texts = [token(1), token(2), token(3)];
    let sought = |number: usize| Sought::colliding(texts[number].as_bytes(), &first);
    let at = |number: usize, exp: i64| {
        let mark = sought(number).mark(texts[number].rfind('.').unwrap());
        let claims = json!({ "exp": exp }).as_object().unwrap().clone();
        Arc::new(Verified::new(mark, claims, &Arc::new(Fields::new([]))).unwrap())
    };
    for (first, second, now, gone) in [
        (NOW + 5, NOW + 9, NOW, 0),
        (NOW + 9, NOW + 5, NOW, 1),
        (NOW + 5, NOW + 9, NOW + 6, 0),
        (NOW + 9, NOW + 5, NOW + 6, 1),
    ] {
        let cache = Cache::default();
        let both = [at(0, first), at(1, second)];
        both.iter().for_each(|one| cache.put(one.clone(), NOW));
        assert!((0..2).all(|number| cache.get(sought(number)).is_some()), "there is room for two");
        let third = at(2, NOW + 100);
        cache.put(third.clone(), now);
        assert!(cache.get(sought(2)).is_some());
        let held: Vec<usize> = (0..2).filter(|number| cache.get(sought(*number)).is_some()).collect();
        assert_eq!(held, [1 - gone], "{first} {second} {now}");
        assert_eq!(cache.bytes(), 2 * third.weight);
    }
}

#[test]
fn a_cached_token_expires_and_is_for_whom_it_is_for() {
    let signer = Signer::ed(Some("k"));
    let filter = filter(&[&signer], &json!({}));
    let req = bearer(&signer.token(&claims(&json!({ "exp": NOW + 5 }))));
    assert_eq!(decide(&filter, &req), Ok(1));
    let later = |now: i64| filter.admit(&req, None, now).map(|found| found.len()).map_err(|stop| stop.fault);
    assert_eq!(later(NOW + 64), Ok(1));
    assert_eq!(later(NOW + 65), Err(Fault::Expired));
    assert_eq!(later(NOW), Ok(1));
}

#[test]
fn a_token_that_was_refused_is_not_remembered_as_good() {
    let signer = Signer::ed(Some("k"));
    let filter = filter(&[&signer], &json!({ "audiences": ["us"] }));
    let req = bearer(&signer.token(&claims(&json!({ "aud": "them" }))));
    for _ in 0..3 {
        assert_eq!(decide(&filter, &req), Err(Fault::Audience));
    }
}

proptest! {
    /// Against a map that forgets nothing: what is found is what was put, and bytes are counted right.
    #[test]
    fn what_is_found_is_what_was_put(puts in proptest::collection::vec((0u64..200, 1usize..8192), 1..300)) {
        let cache = Cache::default();
        let mut all = std::collections::HashMap::new();
        for (number, length) in puts {
            let one = verified(number, length, NOW + 10);
            cache.put(one.clone(), NOW);
            all.insert(number, one);
        }
        let mut bytes = 0;
        for (number, one) in &all {
            if let Some(found) = find(&cache, &token(*number)) {
                prop_assert_eq!(&found.claims["number"], &one.claims["number"]);
                bytes += found.weight;
            }
        }
        prop_assert!(bytes <= cache.bytes());
    }
}
