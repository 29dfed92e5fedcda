//! Points of P-256: y² = x³ − 3x + b.

use super::field::Field;
use super::words::Words;

/// b of the curve.
const B: Field =
    Field::of([0x3bce_3c3e_27d2_604b, 0x651d_06b0_cc53_b0f6, 0xb3eb_bd55_7698_86bc, 0x5ac6_35d8_aa3a_93e7]);
/// The point that all others are multiples of.
pub(super) const GENERATOR: Affine = Affine {
    x: Field::of([
        0xf4a1_3945_d898_c296,
        0x7703_7d81_2deb_33a0,
        0xf8bc_e6e5_63a4_40f2,
        0x6b17_d1f2_e12c_4247,
    ]),
    y: Field::of([
        0xcbb6_4068_37bf_51f5,
        0x2bce_3357_6b31_5ece,
        0x8ee7_eb4a_7c0f_9e16,
        0x4fe3_42e2_fe1a_7f9b,
    ]),
};

/// A point that is not at infinity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Affine {
    pub(super) x: Field,
    y: Field,
}

impl Affine {
    /// From 65 bytes, uncompressed (SEC 1 section 2.3.4); `None`: it is none of the curve.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (x, y) = bytes.strip_prefix(&[4])?.split_at_checked(32)?;
        let (x, y) = (Field::read(x)?, Field::read(y)?);
        let three_x = x.twice().plus(x);
        let is_on_curve = y.square() == x.square().times(x).minus(three_x).plus(B);
        is_on_curve.then_some(Self { x, y })
    }

    pub(super) const fn negative(self) -> Self {
        Self { x: self.x, y: Field::ZERO.minus(self.y) }
    }
}

/// A point in Jacobian coordinates: (x / z², y / z³); at infinity where z is zero.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    x: Field,
    y: Field,
    z: Field,
}

impl From<Affine> for Point {
    fn from(Affine { x, y }: Affine) -> Self {
        Self { x, y, z: Field::ONE }
    }
}

impl Point {
    pub(super) const INFINITY: Self = Self { x: Field::ONE, y: Field::ONE, z: Field::ZERO };

    /// The sum (8 products and 3 squares; "madd" in the Explicit-Formulas Database).
    pub(super) fn plus(self, other: Affine) -> Self {
        if self.z.is_zero() {
            return other.into();
        }
        let zz = self.z.square();
        let h = other.x.times(zz).minus(self.x);
        let r = other.y.times(self.z).times(zz).minus(self.y);
        if h.is_zero() {
            // The same point, or its negative.
            return if r.is_zero() { self.twice() } else { Self::INFINITY };
        }
        let hh = h.square();
        let hhh = h.times(hh);
        let v = self.x.times(hh);
        let x = r.square().minus(hhh).minus(v.twice());
        Self { x, y: r.times(v.minus(x)).minus(self.y.times(hhh)), z: self.z.times(h) }
    }

    /// The sum with itself ("dbl-2001-b").
    pub(super) fn twice(self) -> Self {
        let delta = self.z.square();
        let gamma = self.y.square();
        let beta = self.x.times(gamma);
        let product = self.x.minus(delta).times(self.x.plus(delta));
        let alpha = product.twice().plus(product);
        let four_beta = beta.twice().twice();
        let x = alpha.square().minus(four_beta.twice());
        let z = self.y.plus(self.z).square().minus(gamma).minus(delta);
        let eight = gamma.square().twice().twice().twice();
        Self { x, y: alpha.times(four_beta.minus(x)).minus(eight), z }
    }

    /// Whether x of the point, a number modulo the prime, is `r` modulo the order; false at infinity.
    pub(super) fn has_x(self, r: Words, order: Words) -> bool {
        if self.z.is_zero() {
            return false;
        }
        // Compared with x = r × z², which needs no inverse. A number less than the prime may be the order more than its rest.
        let zz = self.z.square();
        let fits = |x: Field| x.times(zz) == self.x;
        fits(Field::of(r)) || Field::beyond(r, order).is_some_and(fits)
    }

    /// The same points, none of which is at infinity, with z = 1.
    pub(super) fn affine(points: &[Self]) -> Vec<Affine> {
        // Products of all z up to each; the inverse of the last gives the others (Montgomery's trick).
        let mut product = Field::ONE;
        let before: Vec<Field> = points
            .iter()
            .map(|point| {
                let before = product;
                product = product.times(point.z);
                before
            })
            .collect();
        let mut inverse = product.inverse();
        let mut affine: Vec<Affine> = points
            .iter()
            .zip(before)
            .rev()
            .map(|(point, before)| {
                let z = inverse.times(before);
                inverse = inverse.times(point.z);
                let zz = z.square();
                Affine { x: point.x.times(zz), y: point.y.times(zz).times(z) }
            })
            .collect();
        affine.reverse();
        affine
    }
}
