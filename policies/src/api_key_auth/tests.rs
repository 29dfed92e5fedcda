use proptest::prelude::*;

use super::*;
use crate::{BackendRef, Material, Upstream};

struct Keys(Material);

impl Lookup for Keys {
    fn backend(&self, _: &BackendRef) -> Option<Arc<dyn Upstream>> {
        None
    }

    fn material(&self, _: &ObjectRef) -> Option<Arc<Material>> {
        Some(Arc::new(self.0.clone()))
    }
}

fn filter(keys: &[(String, String)]) -> Result<ApiKeyFilter, Invalid> {
    filter_of(keys, 1)
}

fn filter_of(keys: &[(String, String)], secrets: usize) -> Result<ApiKeyFilter, Invalid> {
    let entries = keys.iter().map(|(client, key)| (client.clone(), key.clone().into())).collect();
    let object = ObjectRef { kind: ObjectKind::Secret, namespace: "a".into(), name: "b".into() };
    let policy = ApiKeyAuth {
        credential_refs: vec![object; secrets],
        extract_from: vec![ExtractFrom { headers: vec!["x-key".into()], ..ExtractFrom::default() }],
        forward_client_id_header: None,
        sanitize: false,
        mode: Mode::Enforce,
    };
    policy.compile(&Keys(Material(entries)))
}

proptest! {
    /// Against a list that is looked through.
    #[test]
    fn a_key_is_its_clients_and_no_other_is_anybodys(
        keys in prop::collection::btree_map("[a-c]{1,2}", "[a-c]{1,2}", 0..6), asked in "[a-c]{0,3}",
    ) {
        let keys: Vec<(String, String)> = keys.into_iter().collect();
        let is_shared = keys.iter().any(|(a, key)| keys.iter().any(|(b, other)| a != b && key == other));
        let Ok(filter) = filter(&keys) else {
            prop_assert!(is_shared);
            return Ok(());
        };
        prop_assert!(!is_shared);
        let want = keys.iter().find(|(_, key)| *key == asked).map(|(client, _)| client.as_str());
        prop_assert_eq!(filter.client(asked.as_bytes()).map(|client| &*client.name), want);
    }
}

#[test]
fn no_key_is_in_what_is_compiled_or_told() {
    let secret = "a-key-nobody-shows";
    let compiled = filter(&[("bff".into(), secret.into())]).unwrap();
    assert!(!format!("{compiled:?}").contains(secret));
    let refused = filter(&[("a".into(), secret.into()), ("b".into(), secret.into())]).unwrap_err();
    assert!(!format!("{refused} {refused:?}").contains(secret));
}

#[test]
fn a_key_is_as_long_as_it_may_be_and_no_longer() {
    let longest = "k".repeat(LONGEST);
    let compiled = filter(&[("bff".into(), longest.clone())]).unwrap();
    assert!(compiled.client(longest.as_bytes()).is_some());
    assert!(compiled.client(format!("{longest}k").as_bytes()).is_none());
    assert!(filter(&[("bff".into(), format!("{longest}k"))]).is_err());
}

#[test]
fn a_policy_has_as_many_secrets_and_keys_as_it_may_and_no_more() {
    let keys = |count: usize| (0..count).map(|n| (format!("c{n}"), format!("k{n}"))).collect::<Vec<_>>();
    assert!(filter_of(&keys(1), MOST_REFS).is_ok());
    assert!(filter_of(&keys(1), MOST_REFS + 1).unwrap_err().to_string().contains("names 17 Secrets"));
    assert!(filter(&keys(MOST)).is_ok());
    assert!(filter(&keys(MOST + 1)).unwrap_err().to_string().contains("hold more than 10000 keys"));
}

#[test]
fn a_key_is_looked_for_in_as_many_places_as_may_be_and_no_more() {
    let places = |count: usize| {
        let names = (0..count).map(|n| format!("x-{n}")).collect();
        Places::compile("extractFrom", &[ExtractFrom { params: names, ..ExtractFrom::default() }])
    };
    assert!(places(16).is_ok());
    assert!(places(17).unwrap_err().to_string().contains("names 17 places; name 1 to 16"));
}
