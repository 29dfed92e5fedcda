//! Tokens that were verified before.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::super::cache::Cache;
use super::super::claims::Verified;
use super::signer::Signer;
use super::{Fault, NOW, bearer, claims, decide, filter};

fn verified(number: u64, length: usize, exp: i64) -> Arc<Verified> {
    let mut digest = [0; 32];
    // Spread as digests are.
    digest[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    digest[8..16].copy_from_slice(&number.to_be_bytes());
    let claims = json!({ "exp": exp, "number": number });
    Arc::new(Verified::new(digest, length, claims.as_object().unwrap().clone()).unwrap())
}

#[test]
fn a_verified_token_is_found_by_its_whole_digest() {
    let cache = Cache::default();
    let one = verified(1, 100, NOW + 10);
    assert!(cache.get(&one.digest).is_none());
    cache.put(one.clone(), NOW);
    assert!(Arc::ptr_eq(cache.get(&one.digest).unwrap().as_ref().unwrap(), &one));
    let mut near = one.digest;
    near[31] ^= 1;
    assert!(cache.get(&near).is_none());
}

#[test]
fn the_cache_is_bounded_by_bytes_and_slots() {
    let cache = Cache::default();
    for number in 0..20_000 {
        cache.put(verified(number, 8192, NOW + 10), NOW);
    }
    assert!(cache.bytes() <= 32 << 20, "{}", cache.bytes());
    assert!(cache.bytes() > 16 << 20, "{}", cache.bytes());
    let last = verified(19_999, 8192, NOW + 10);
    assert!(cache.get(&last.digest).is_some(), "what was put last is there");
    let held = (0..20_000).filter(|number| cache.get(&verified(*number, 1, NOW).digest).is_some()).count();
    assert!((100..=4096).contains(&held), "{held}");
}

#[test]
fn an_expired_token_makes_place_first() {
    let cache = Cache::default();
    let (old, new) = (verified(7, 1, NOW - 1), verified(7 + (1 << 40), 1, NOW + 10));
    cache.put(old, NOW - 100);
    for number in 0..10_000 {
        cache.put(verified(number + 100, 1, NOW + 5), NOW);
    }
    cache.put(new.clone(), NOW);
    assert!(cache.get(&new.digest).is_some());
}

#[test]
fn of_two_tokens_in_the_places_of_a_third_the_one_that_expires_first_makes_place() {
    // The last slot there is, and another.
    let at = |tail: u8, exp: i64| {
        let mut digest = [0; 32];
        digest[..4].copy_from_slice(&[0x0f, 0xff, 0, 1]);
        digest[31] = tail;
        let claims = json!({ "exp": exp });
        Arc::new(Verified::new(digest, 1, claims.as_object().unwrap().clone()).unwrap())
    };
    for (first, second, now, gone) in [
        (NOW + 5, NOW + 9, NOW, 0),
        (NOW + 9, NOW + 5, NOW, 1),
        (NOW + 5, NOW + 9, NOW + 6, 0),
        (NOW + 9, NOW + 5, NOW + 6, 1),
    ] {
        let cache = Cache::default();
        let both = [at(1, first), at(2, second)];
        both.iter().for_each(|one| cache.put(one.clone(), NOW));
        assert!(both.iter().all(|one| cache.get(&one.digest).is_some()), "there is room for two");
        let third = at(3, NOW + 100);
        cache.put(third.clone(), now);
        assert!(cache.get(&third.digest).is_some());
        let held: Vec<usize> = (0..2).filter(|at| cache.get(&both[*at].digest).is_some()).collect();
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
    let later = |now: i64| filter.admit(&req, now).map(|found| found.len()).map_err(|stop| stop.fault);
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
        for one in all.values() {
            if let Some(found) = cache.get(&one.digest) {
                let found = found.as_ref().unwrap();
                prop_assert_eq!(&found.claims, &one.claims);
                bytes += found.weight;
            }
        }
        prop_assert!(bytes <= cache.bytes());
    }
}
