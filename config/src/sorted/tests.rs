use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

type Small = Map<u16, u8>;

fn shown(map: &Small) -> Vec<(u16, u8)> {
    map.iter().map(|(key, value)| (*key, *value)).collect()
}

fn naive_changes(old: &BTreeMap<u16, u8>, new: &BTreeMap<u16, u8>) -> Vec<(u16, Option<u8>, Option<u8>)> {
    let keys: std::collections::BTreeSet<u16> = old.keys().chain(new.keys()).copied().collect();
    let changes = keys.into_iter().map(|key| (key, old.get(&key).copied(), new.get(&key).copied()));
    changes.filter(|(_, old, new)| old != new).collect()
}

proptest! {
    #[test]
    fn a_map_is_what_the_standard_librarys_is_and_older_versions_stay(
        start in prop::collection::vec((0..600_u16, any::<u8>()), 0..400),
        steps in prop::collection::vec(
            prop::collection::vec((0..600_u16, prop::option::of(any::<u8>())), 1..200), 1..6),
        from in 0..600_u16,
    ) {
        let mut naive: BTreeMap<u16, u8> = start.iter().copied().collect();
        let mut map: Small = start.into_iter().collect();
        for step in steps {
            let (before, naive_before) = (map.clone(), naive.clone());
            for (key, value) in step {
                match value {
                    Some(value) => prop_assert_eq!(map.insert(key, value), naive.insert(key, value)),
                    None => prop_assert_eq!(map.remove(&key), naive.remove(&key)),
                }
                prop_assert_eq!(map.get(&key), naive.get(&key));
            }
            prop_assert_eq!(shown(&before), naive_before.clone().into_iter().collect::<Vec<_>>());
            prop_assert_eq!(shown(&map), naive.clone().into_iter().collect::<Vec<_>>());
            prop_assert_eq!(map.len(), naive.len());
            prop_assert_eq!(map.iter().len(), naive.len());
            let range = map.range(from..from + 50).map(|(key, _)| *key).collect::<Vec<_>>();
            prop_assert_eq!(range, naive.range(from..from + 50).map(|(key, _)| *key).collect::<Vec<_>>());
            let changes = before.changes(&map).filter(|(_, old, new)| old != new);
            let changes: Vec<_> = changes.map(|(key, old, new)| (*key, old.copied(), new.copied())).collect();
            prop_assert_eq!(changes, naive_changes(&naive_before, &naive));
            prop_assert_eq!(&map, &naive.iter().map(|(key, value)| (*key, *value)).collect::<Small>());
            prop_assert_eq!(before == map, naive_before == naive);
            prop_assert!(map.0.chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= CHUNK));
        }
    }
}

#[test]
fn two_versions_are_compared_where_they_differ() {
    let old: Small = (0..5_000).map(|key| (key, 0)).collect();
    let mut new = old.clone();
    new.insert(2_500, 1);
    new.remove(&100);
    let shared = |at: &Chunk<_>| old.0.chunks.iter().any(|chunk| Arc::ptr_eq(chunk, at));
    assert_eq!(new.0.chunks.iter().filter(|chunk| !shared(chunk)).count(), 2);
    let changes: Vec<_> = old.changes(&new).map(|(key, ..)| *key).collect();
    assert_eq!(changes, [100, 2_500]);
    assert!(old.is_identical(&old.clone()) && !old.is_identical(&new));
}

#[test]
fn a_list_that_shrinks_has_few_chunks() {
    let mut map: Small = (0..5_000).map(|key| (key, 0)).collect();
    (0..5_000).filter(|key| key % 100 != 0).for_each(|key| _ = map.remove(&key));
    assert_eq!(map.len(), 50);
    assert!(map.0.chunks.len() <= 8, "{}", map.0.chunks.len());
    (0..5_000).for_each(|key| _ = map.remove(&key));
    assert!(map.is_empty() && map.0.chunks.is_empty());
}
