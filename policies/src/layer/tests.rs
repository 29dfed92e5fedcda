use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Parts by number, each with who said it.
type Parts = BTreeMap<u8, u16>;

impl Inherit for Parts {
    fn inherit(&mut self, parent: &Self) {
        for (part, said) in parent {
            self.entry(*part).or_insert(*said);
        }
    }
}

fn levels(at_most: usize) -> impl Strategy<Value = Vec<Layer<Parts>>> {
    let parts = || prop::collection::btree_map(0u8..5, any::<u16>(), 0..5);
    let layer = (parts(), parts()).prop_map(|(defaults, overrides)| Layer { defaults, overrides });
    prop::collection::vec(layer, 0..at_most)
}

/// As GEP-713 tells it, part by part: "Overrides … the less specific wins", "Defaults … the more specific wins".
fn naive(levels: &[Layer<Parts>]) -> Parts {
    let decide = |part: u8| {
        for level in levels {
            if let Some(said) = level.overrides.get(&part) {
                return Some(*said);
            }
        }
        for level in levels.iter().rev() {
            if let Some(said) = level.defaults.get(&part) {
                return Some(*said);
            }
        }
        None
    };
    (0u8..5).filter_map(|part| Some((part, decide(part)?))).collect()
}

fn fold(levels: &[Layer<Parts>]) -> Layer<Parts> {
    levels.iter().fold(Layer::default(), Layer::refine)
}

proptest! {
    #[test]
    fn levels_come_to_what_the_proposal_says(levels in levels(7)) {
        prop_assert_eq!(merge(&levels), naive(&levels));
    }

    #[test]
    fn levels_may_be_put_together_in_any_grouping(levels in levels(7), at in 0usize..7) {
        let (general, specific) = levels.split_at(at.min(levels.len()));
        prop_assert_eq!(fold(general).refine(&fold(specific)), fold(&levels));
    }

    #[test]
    fn a_level_that_says_nothing_changes_nothing(levels in levels(4), at in 0usize..4) {
        let mut more = levels.clone();
        more.insert(at.min(levels.len()), Layer::default());
        prop_assert_eq!(fold(&more), fold(&levels));
    }
}
