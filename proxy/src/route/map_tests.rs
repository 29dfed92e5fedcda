use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, PartialEq)]
struct Item {
    key: u32,
    values: Vec<u8>,
}

impl Keyed for Item {
    type Key = u32;

    fn key(&self) -> &u32 {
        &self.key
    }
}

impl Vacant for Item {
    fn is_vacant(&self) -> bool {
        self.values.is_empty()
    }
}

fn content(map: &CowMap<Item>) -> BTreeMap<u32, Vec<u8>> {
    map.iter().map(|item| (item.key, item.values.clone())).collect()
}

fn tables(map: &CowMap<Item>) -> &[Arc<HashTable<Arc<Item>>>] {
    match map {
        CowMap::Many(shards) => &shards.tables,
        CowMap::Empty | CowMap::One(_) => &[],
    }
}

fn item(key: u32) -> Arc<Item> {
    Arc::new(Item { key, values: vec![0] })
}

#[test]
fn an_entry_is_found_at_any_size_and_after_any_growth() {
    let mut map = CowMap::default();
    for key in 0..3000 {
        map.insert(item(key));
        assert!(map.get(&key).is_some() && map.get(&(key + 1)).is_none());
    }
    assert_eq!((map.len(), map.iter().count()), (3000, 3000));
    for key in 0..3000 {
        assert_eq!(map.remove(&key), Some(item(key)));
        assert_eq!(map.remove(&key), None);
        assert_eq!(map.len(), map.iter().count());
    }
    assert!(map.is_empty());
}

#[test]
fn a_change_copies_one_shard_and_one_entry() {
    let mut map = CowMap::default();
    (0..3000).for_each(|key| map.insert(item(key)));
    let before = map.clone();
    map.edit(&7, || unreachable!("it is there"), |item| item.values.push(1));
    assert_eq!(before.get(&7).unwrap().values, [0]);
    assert_eq!(map.get(&7).unwrap().values, [0, 1]);
    let shared = tables(&before).iter().zip(tables(&map)).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
    assert_eq!(shared, tables(&map).len() - 1);
    assert!(
        (0..3000)
            .filter(|key| *key != 7)
            .all(|key| Arc::ptr_eq(before.get(&key).unwrap(), map.get(&key).unwrap()))
    );
}

proptest! {
    /// Against a `BTreeMap`, with a clone taken on the way that must not change.
    #[test]
    fn it_is_a_map_whose_clones_do_not_change(
        steps in prop::collection::vec((0u8..4, 0u32..200), 0..600),
        keys in prop_oneof![Just(1u32), Just(3), Just(200)],
        clone_at in 0usize..600,
    ) {
        let (mut map, mut model) = (CowMap::default(), BTreeMap::new());
        let mut clones = None;
        for (at, (step, key)) in steps.into_iter().enumerate() {
            if at == clone_at {
                clones = Some((map.clone(), model.clone()));
            }
            let key = key % keys;
            match step {
                0 => {
                    map.insert(item(key));
                    model.insert(key, vec![0]);
                }
                1 => {
                    let removed = map.remove(&key).map(|item| item.values.clone());
                    prop_assert_eq!(removed, model.remove(&key));
                }
                2 => {
                    let vacant = || Item { key, values: Vec::new() };
                    map.edit(&key, vacant, |item| item.values.push(1));
                    model.entry(key).or_default().push(1);
                }
                _ => {
                    let vacant = || Item { key, values: Vec::new() };
                    map.edit(&key, vacant, |item| item.values.clear());
                    model.remove(&key);
                }
            }
        }
        prop_assert_eq!((map.len(), map.is_empty()), (model.len(), model.is_empty()));
        prop_assert_eq!(matches!(map, CowMap::One(_)), model.len() == 1);
        prop_assert_eq!(content(&map), model);
        if let Some((map, model)) = clones {
            prop_assert_eq!(content(&map), model);
        }
    }
}
