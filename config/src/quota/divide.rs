//! Who should have how much of a limit: max-min fair by demand. Nobody can get more by wanting more than a fair part.

/// Parts of `capacity` for these wants, in their order: what is wanted where that is less than a fair part, and a fair part
/// of what those leave. What nobody wants is spread evenly over all `heads`, of which some may want nothing yet; for those it
/// is kept. Sums up to `capacity` at most.
pub(super) fn divide(capacity: u64, wants: &[u64], heads: u64) -> Vec<u64> {
    let mut order: Vec<(usize, u64)> = wants.iter().copied().enumerate().collect();
    order.sort_by_key(|(_, want)| *want);
    let mut parts = vec![0; wants.len()];
    let spread_over = heads.max(wants.len() as u64).max(1);
    let (mut left, mut heads) = (capacity, wants.len() as u64);
    for (index, want) in order {
        let part = want.min(left / heads);
        if let Some(slot) = parts.get_mut(index) {
            *slot = part;
        }
        left -= part;
        heads -= 1;
    }
    let spare = left / spread_over;
    parts.iter_mut().for_each(|part| *part += spare);
    parts
}

/// Makes parts whole tokens of `unit`, without making their sum greater than it may be: what rounding leaves goes to those who
/// lost most by it, and of equals to the one whose `turn` it is.
pub(super) fn whole(capacity: u64, unit: u64, parts: &mut [u64], turn: u64) {
    let count = parts.len() as u64;
    let mut order: Vec<(u64, u64, usize)> = parts
        .iter()
        .enumerate()
        .map(|(index, part)| (u64::MAX - part % unit, (index as u64 + turn) % count.max(1), index))
        .collect();
    order.sort_unstable();
    parts.iter_mut().for_each(|part| *part -= *part % unit);
    let left = capacity.saturating_sub(parts.iter().sum()) / unit;
    for (_, _, index) in order.into_iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
        if let Some(part) = parts.get_mut(index) {
            *part += unit;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn who_wants_little_gets_it_and_the_others_share_the_rest() {
        assert_eq!(divide(100, &[10, 1000, 50], 0), [10, 45, 45]);
        assert_eq!(divide(100, &[10, 20], 2), [45, 55]);
        assert_eq!(divide(100, &[10, 20], 7), [20, 30]);
        assert_eq!(divide(0, &[10, 20], 0), [0, 0]);
        assert_eq!(divide(100, &[], 7), Vec::<u64>::new());
    }

    #[test]
    fn fewer_tokens_than_heads_go_round() {
        let whose = |turn| {
            let mut parts = divide(2_000, &[9_000; 5], 0);
            whole(2_000, 1_000, &mut parts, turn);
            parts
        };
        assert_eq!(whose(0), [1_000, 1_000, 0, 0, 0]);
        assert_eq!(whose(3), [0, 0, 1_000, 1_000, 0]);
    }

    proptest! {
        #[test]
        fn parts_never_exceed_the_whole_and_no_want_is_passed_over(
            capacity in 0u64..1_000_000, wants in proptest::collection::vec(0u64..1_000_000, 1..20), turn in 0u64..50,
        ) {
            let parts = divide(capacity, &wants, 0);
            let sum: u64 = parts.iter().sum();
            prop_assert!(sum <= capacity && capacity - sum <= wants.len() as u64);
            // Who gets less than he wants gets no less than anybody who gets more than he wants.
            for (mine, want) in parts.iter().zip(&wants) {
                for (theirs, their) in parts.iter().zip(&wants) {
                    prop_assert!(mine >= want || theirs <= their || mine + 1 >= *theirs);
                }
            }
            let mut tokens = parts;
            whole(capacity, 1000, &mut tokens, turn);
            prop_assert!(tokens.iter().sum::<u64>() <= capacity);
            prop_assert!(tokens.iter().all(|part| part % 1000 == 0));
        }
    }
}
