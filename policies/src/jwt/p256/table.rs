//! Multiples of a point, worked out once, so that any multiple is a sum of few of them and nothing is doubled.

use super::point::{Affine, Point};
use super::scalar::Scalar;

/// Bits of a digit. More make fewer additions and a larger table.
const BITS: usize = 6;
/// Digits of a number, which are −32 to 32: 43, of which the last takes what is carried.
const DIGITS: usize = 256usize.div_ceil(BITS);
const MOST: usize = 1 << (BITS - 1);
const _: () = assert!(DIGITS * BITS > 256, "what is carried out of 256 bits is lost");

/// 1 to 32 times the point, times 64^i in row i: 86 KiB.
pub(super) struct Table(Vec<Affine>);

impl Table {
    pub(super) fn new(point: Affine) -> Self {
        let mut all = Vec::with_capacity(DIGITS * MOST);
        let mut first = point;
        for _ in 0..DIGITS {
            let mut row = Vec::with_capacity(MOST + 1);
            let mut next = Point::from(first);
            for _ in 0..MOST {
                row.push(next);
                next = next.plus(first);
            }
            // The last is 32 times the first; twice that begins the next row.
            row.extend(row.last().map(|last| last.twice()));
            let mut row = Point::affine(&row);
            first = row.pop().unwrap_or(first);
            all.extend(row);
        }
        Self(all)
    }

    /// `sum` and `times` times the point.
    pub(super) fn add(&self, mut sum: Point, times: Scalar) -> Point {
        for (row, digit) in self.0.chunks_exact(MOST).zip(digits(times)) {
            // Rows begin with the point itself.
            let place = usize::from(digit.unsigned_abs()).checked_sub(1);
            if let Some(point) = place.and_then(|place| row.get(place)) {
                sum = sum.plus(if digit < 0 { point.negative() } else { *point });
            }
        }
        sum
    }
}

/// Digits, the lowest first.
fn digits(number: Scalar) -> impl Iterator<Item = i8> {
    let [w0, w1, w2, w3] = number.0;
    let words = [w0, w1, w2, w3, 0];
    let mut carry = 0;
    (0..DIGITS).map(move |at| {
        let (word, bit) = (at * BITS / 64, at * BITS % 64);
        let low = words.get(word).copied().unwrap_or_default();
        let high = words.get(word + 1).copied().unwrap_or_default();
        let both = (u128::from(high) << 64 | u128::from(low)) >> bit;
        let digit = (both as i8 & (2 * MOST - 1) as i8) + carry;
        carry = i8::from(digit > MOST as i8);
        digit - carry * 2 * MOST as i8
    })
}
