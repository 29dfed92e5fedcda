//! Against `ring`, Wycheproof, and what `ring` cannot be asked.

use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use serde_json::Value;

use super::field::Field;
use super::words::{Words, from_bytes};
use super::*;

fn signer() -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &random).unwrap()
}

/// A key of ours, and the same of ring's.
struct Both(Option<Key>, UnparsedPublicKey<Vec<u8>>);

impl Both {
    fn read(key: &[u8]) -> Self {
        Self(Key::read(key), UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.to_vec()))
    }

    /// What both say, which is the same.
    fn verify(&self, message: &[u8], shown: &[u8]) -> bool {
        let ours = self.0.as_ref().is_some_and(|key| key.verifies(message, shown));
        assert_eq!(ours, self.1.verify(message, shown).is_ok(), "{:?} {message:?} {shown:?}", self.1);
        ours
    }
}

fn hex(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn signatures_of_ring_are_good_and_changed_ones_are_not() {
    for _ in 0..5 {
        let signer = signer();
        let key = Both::read(signer.public_key().as_ref());
        for length in [0, 1, 55, 600] {
            let message = vec![b'x'; length];
            let shown = signer.sign(&SystemRandom::new(), &message).unwrap();
            assert!(key.verify(&message, shown.as_ref()));
            assert!(!key.verify(b"another", shown.as_ref()));
            for at in [0, 31, 32, 63] {
                let mut changed = shown.as_ref().to_vec();
                changed[at] ^= 1;
                assert!(!key.verify(&message, &changed));
            }
        }
    }
}

#[test]
fn every_vector_of_wycheproof_comes_out_right() {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/vectors");
    let mut go = Command::new("go");
    go.args(["mod", "download", "-json", "github.com/c2sp/wycheproof"]).current_dir(module);
    let found = go.output().expect("Go is missing: it fetches the vectors of Wycheproof (README.md)").stdout;
    let found: Value = serde_json::from_slice(&found).expect("what `go mod download -json` says");
    let dir = found["Dir"].as_str().expect("the vectors of Wycheproof cannot be had; run .ci/install");
    let file = Path::new(dir).join("testvectors_v1/ecdsa_secp256r1_sha256_p1363_test.json");
    let vectors: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for group in vectors["testGroups"].as_array().unwrap() {
        let key = Both::read(&hex(&group["publicKey"]["uncompressed"]));
        for test in group["tests"].as_array().unwrap() {
            let is_good = key.verify(&hex(&test["msg"]), &hex(&test["sig"]));
            assert_eq!(is_good, test["result"] == "valid", "{test}");
            if is_good { valid += 1 } else { invalid += 1 }
        }
    }
    assert_eq!((valid, invalid), (173, 89), "vectors came or went: look at them");
}

#[test]
fn what_is_no_point_is_no_key() {
    let signer = signer();
    let key = signer.public_key().as_ref();
    assert!(Key::read(key).is_some());
    let changed = |at: usize, byte: u8| {
        let mut key = key.to_vec();
        key[at] = byte;
        key
    };
    let prime = [[0xff; 4], [0, 0, 0, 1], [0; 4], [0; 4], [0; 4], [0xff; 4], [0xff; 4], [0xff; 4]].concat();
    let beyond = |at: usize| [&key[..at], &prime, &key[at + 32..]].concat();
    for bad in [
        vec![],
        vec![4; 65],
        key[..64].to_vec(),
        [key, &[0]].concat(),
        changed(0, 2),
        changed(64, key[64] ^ 1),
        beyond(1),
        beyond(33),
    ] {
        assert!(Key::read(&bad).is_none(), "{bad:?}");
    }
}

fn number(small: u64) -> Scalar {
    Scalar([small, 0, 0, 0])
}

fn bytes(words: Words) -> Vec<u8> {
    words.iter().rev().flat_map(|word| word.to_be_bytes()).collect()
}

/// `times` times the generator, by additions alone.
fn multiple(times: u64) -> Point {
    (0..times).fold(Point::INFINITY, |sum, _| sum.plus(GENERATOR))
}

#[test]
fn multiples_by_table_are_those_by_addition() {
    let table = Table::new(GENERATOR);
    let same = |a: Point, b: Point| Point::affine(&[a]) == Point::affine(&[b]);
    for times in [1, 2, 3, 31, 32, 33, 63, 64, 65, 127, 128, 1_000, 4_095, 4_096, 4_097] {
        assert!(same(table.add(Point::INFINITY, number(times)), multiple(times)), "{times}");
    }
    // From below the order, the way round: −k times the point is its negative.
    for less in [1, 2, 33, 4_096] {
        let scalar = Scalar(words::sub(N, [less, 0, 0, 0]).0);
        let negative = Point::affine(&[multiple(less)])[0].negative();
        assert!(same(table.add(Point::INFINITY, scalar), negative.into()), "{less}");
    }
    assert!(!table.add(Point::INFINITY, number(0)).has_x([0; 4], N));
}

/// Signatures that make both sums the same point, or one the negative of the other: `d` is the private key, and a digest
/// may be chosen here.
#[test]
fn sums_of_equal_and_of_opposite_points_come_out_right() {
    for d in [1, 2, 3, 77, 1_000] {
        let point = Point::affine(&[multiple(d)])[0];
        let key = Key { point, table: OnceLock::new() };
        for k in [1, 2, 5, 64, 333] {
            // R = k G; with e = r d both sums are (r d / s) G, so s = 2 r d / k is good.
            let r = scalar_x(multiple(k));
            let e = r.times(number(d));
            let s = e.times(number(2)).times(number(k).inverse());
            let shown = [bytes(r.0), bytes(s.0)].concat();
            assert_eq!(key.has_signed(&bytes(e.0), &shown), Some(true), "{d} {k}");
            // With e = −r d their sum is at infinity.
            let opposite = bytes(words::sub(N, e.0).0);
            assert_eq!(key.has_signed(&opposite, &shown), Some(false), "{d} {k}");
        }
    }
}

/// x of a point, modulo the order.
fn scalar_x(point: Point) -> Scalar {
    Scalar(words::reduce(Point::affine(&[point])[0].x.words(), 0, N))
}

#[test]
fn numbers_at_the_edges_are_no_signature() {
    let key = Key { point: GENERATOR, table: OnceLock::new() };
    let good = bytes([5, 0, 0, 0]);
    let more = |by: u64| bytes(words::add(N, [by, 0, 0, 0]).0);
    for bad in [bytes([0; 4]), more(0), more(1), bytes([u64::MAX; 4])] {
        for shown in [[bad.clone(), good.clone()].concat(), [good.clone(), bad.clone()].concat()] {
            assert_eq!(key.has_signed(&[1; 32], &shown), None);
        }
    }
    for length in [0, 31, 32, 63, 65, 96] {
        assert!(!key.verifies(b"x", &vec![1; length]), "{length}");
    }
}

fn scalars() -> impl Strategy<Value = Scalar> {
    let random = any::<[u8; 32]>().prop_map(|bytes| Scalar(words::reduce(from_bytes(&bytes).unwrap(), 0, N)));
    let small = any::<u64>().prop_map(number);
    let large = any::<u64>().prop_map(|less| Scalar(words::sub(N, [less.max(1), 0, 0, 0]).0));
    prop_oneof![4 => random, 1 => small, 1 => large]
}

fn fields() -> impl Strategy<Value = Field> {
    let edge =
        prop_oneof![Just(0_u64), Just(1), Just(u64::MAX), Just(u64::MAX - 1), Just(1 << 32), any::<u64>()];
    let words = [edge.clone(), edge.clone(), edge.clone(), edge];
    words.prop_filter_map("less than the prime", |words| Field::read(&bytes(words)))
}

proptest! {
    #[test]
    fn an_inverse_gives_one(scalar in scalars(), field in fields()) {
        if scalar != number(0) {
            prop_assert_eq!(scalar.times(scalar.inverse()), number(1));
        }
        if !field.is_zero() {
            prop_assert_eq!(field.times(field.inverse()), Field::ONE);
        }
    }

    #[test]
    fn fields_are_rings(a in fields(), b in fields(), c in fields()) {
        prop_assert_eq!(a.times(b), b.times(a));
        prop_assert_eq!(a.times(b).times(c), a.times(b.times(c)));
        prop_assert_eq!(a.times(b.plus(c)), a.times(b).plus(a.times(c)));
        prop_assert_eq!(a.plus(b).minus(b), a);
        prop_assert_eq!(a.minus(a), Field::ZERO);
        prop_assert_eq!(a.times(Field::ONE), a);
        prop_assert_eq!(Field::ZERO.minus(a).plus(a), Field::ZERO);
    }

    #[test]
    fn scalars_are_rings(a in scalars(), b in scalars(), c in scalars()) {
        prop_assert_eq!(a.times(b), b.times(a));
        prop_assert_eq!(a.times(b).times(c), a.times(b.times(c)));
        prop_assert_eq!(a.times(number(1)), a);
    }

    /// Signatures of ring over any message, and rubbish.
    #[test]
    fn both_say_the_same(message in any::<Vec<u8>>(), shown in any::<[[u8; 32]; 2]>(), at in 0usize..64, bit in 0u8..8) {
        let signer = signer();
        let key = Both::read(signer.public_key().as_ref());
        let good = signer.sign(&SystemRandom::new(), &message).unwrap();
        prop_assert!(key.verify(&message, good.as_ref()));
        let mut changed = good.as_ref().to_vec();
        changed[at] ^= 1 << bit;
        prop_assert!(!key.verify(&message, &changed));
        prop_assert!(!key.verify(&message, &shown.concat()));
    }
}
