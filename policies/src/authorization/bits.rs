//! Sets of rules.

use std::ops::{BitAnd, BitAndAssign, BitOr, BitOrAssign, Not};

const WORDS: usize = 4;

/// A set of the rules of one policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bits([u64; WORDS]);

impl Bits {
    /// Rules a policy may have.
    pub(super) const MOST: usize = WORDS * 64;
    pub(super) const NONE: Self = Self([0; WORDS]);
    pub(super) const ALL: Self = Self([u64::MAX; WORDS]);

    /// Adds one; `at` is less than [`MOST`](Self::MOST).
    pub(super) fn insert(&mut self, at: usize) {
        if let Some(word) = self.0.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
    }

    pub(super) fn is_empty(self) -> bool {
        self == Self::NONE
    }

    /// The first of them.
    pub(super) fn first(self) -> Option<usize> {
        self.iter().next()
    }

    /// In order.
    pub(super) fn iter(self) -> impl Iterator<Item = usize> {
        self.0.into_iter().enumerate().flat_map(|(at, word)| {
            let rests = std::iter::successors(Some(word), |word| Some(word & word.wrapping_sub(1)));
            rests.take_while(|word| *word != 0).map(move |word| at * 64 + word.trailing_zeros() as usize)
        })
    }

    fn zip(self, other: Self, with: impl Fn(u64, u64) -> u64) -> Self {
        let mut words = self.0;
        words.iter_mut().zip(other.0).for_each(|(word, other)| *word = with(*word, other));
        Self(words)
    }
}

impl BitAnd for Bits {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        self.zip(other, |a, b| a & b)
    }
}

impl BitOr for Bits {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.zip(other, |a, b| a | b)
    }
}

impl Not for Bits {
    type Output = Self;

    fn not(self) -> Self {
        self.zip(self, |word, _| !word)
    }
}

impl BitAndAssign for Bits {
    fn bitand_assign(&mut self, other: Self) {
        *self = *self & other;
    }
}

impl BitOrAssign for Bits {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

impl FromIterator<usize> for Bits {
    fn from_iter<I: IntoIterator<Item = usize>>(rules: I) -> Self {
        let mut bits = Self::NONE;
        rules.into_iter().for_each(|rule| bits.insert(rule));
        bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in() {
        let rules = [0, 1, 63, 64, 127, 200, 255];
        let bits: Bits = rules.into_iter().collect();
        assert_eq!(bits.iter().collect::<Vec<_>>(), rules);
        assert_eq!((bits.first(), Bits::NONE.first()), (Some(0), None));
        assert_eq!((bits & !bits, bits | !bits), (Bits::NONE, Bits::ALL));
        assert!(Bits::NONE.is_empty() && !bits.is_empty());
        assert_eq!(Bits::ALL.iter().count(), Bits::MOST);
        let mut others = !bits;
        others |= [0].into_iter().collect();
        others &= [0, 2, 63].into_iter().collect();
        assert_eq!(others.iter().collect::<Vec<_>>(), [0, 2]);
    }
}
