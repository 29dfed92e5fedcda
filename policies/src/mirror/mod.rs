//! Sends copies of requests to other backends (HTTPRequestMirrorFilter). Answers to copies are ignored.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::sample::mix;
use crate::{BackendRef, Context, Filter, Invalid, Lookup, Policy, Request, Upstream, Verdict};

/// One mirror.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mirror {
    /// Who gets the copy.
    pub backend: BackendRef,
    /// Share of the requests that are copied.
    #[serde(default, skip_serializing_if = "Fraction::is_all")]
    pub fraction: Fraction,
}

/// `numerator / denominator`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fraction {
    /// 0 to `denominator`.
    pub numerator: u32,
    /// Above 0. Default 100.
    #[serde(default = "hundred")]
    pub denominator: u32,
}

const fn hundred() -> u32 {
    100
}

impl Default for Fraction {
    fn default() -> Self {
        Self { numerator: 100, denominator: 100 }
    }
}

impl Fraction {
    /// True when every request is taken.
    #[must_use]
    pub const fn is_all(&self) -> bool {
        self.numerator >= self.denominator
    }
}

/// Every mirror of one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Mirrors(pub Vec<Mirror>);

impl Fraction {
    fn compile(self, index: usize) -> Result<Share, Invalid> {
        if self.denominator == 0 {
            return Err(Invalid::field(format!("[{index}].fraction.denominator"), "is 0; use 1 or more"));
        }
        if self.numerator > self.denominator {
            return Err(Invalid::field(
                format!("[{index}].fraction.numerator"),
                format!(
                    "{} is above the denominator {}; make it at most that",
                    self.numerator, self.denominator
                ),
            ));
        }
        if self.is_all() {
            return Ok(Share::All);
        }
        // Below 2^64, because the numerator is below the denominator.
        let below = (u128::from(self.numerator) << 64) / u128::from(self.denominator);
        Ok(Share::Below(u64::try_from(below).unwrap_or(u64::MAX)))
    }
}

/// Which random bits are taken.
#[derive(Debug, Clone, Copy)]
enum Share {
    All,
    Below(u64),
}

impl Share {
    const fn takes(self, bits: u64) -> bool {
        match self {
            Self::All => true,
            Self::Below(limit) => bits < limit,
        }
    }
}

impl Policy for Mirrors {
    type Filter = MirrorFilter;

    fn backends(&self) -> Vec<&BackendRef> {
        self.0.iter().map(|mirror| &mirror.backend).collect()
    }

    fn compile(&self, lookup: &dyn Lookup) -> Result<MirrorFilter, Invalid> {
        let mut mirrors = Vec::with_capacity(self.0.len());
        for (index, Mirror { backend, fraction }) in self.0.iter().enumerate() {
            let share = fraction.compile(index)?;
            let upstream =
                lookup.backend(backend).ok_or_else(|| Invalid::BackendNotFound(backend.clone()))?;
            mirrors.push((share, upstream));
        }
        Ok(MirrorFilter(mirrors.into()))
    }
}

/// A compiled [`Mirrors`].
#[derive(Debug)]
pub struct MirrorFilter(Box<[(Share, Arc<dyn Upstream>)]>);

impl Filter for MirrorFilter {
    type State = ();

    fn request<'a>(&'a self, _: &'a mut Request, ctx: &'a mut Context, (): &'a mut ()) -> Verdict<'a> {
        // Each mirror draws bits of its own, so that two of 50 % do not always get the same half.
        for (index, (share, upstream)) in (0..).zip(&self.0) {
            if share.takes(mix(ctx.entropy, index)) {
                ctx.mirrors.push(Arc::clone(upstream));
            }
        }
        Verdict::Continue
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// 10,000 draws: the standard deviation is at most 50, so 400 is out of reach by chance.
        #[test]
        fn a_fraction_takes_its_share(denominator in 1u32.., part in 0.0..=1.0f64, seed: u64) {
            let numerator = (f64::from(denominator) * part) as u32;
            let share = Fraction { numerator, denominator }.compile(0).unwrap();
            let taken = (0..10_000).filter(|n| share.takes(mix(seed.wrapping_add(*n), 0))).count();
            let want = f64::from(numerator) / f64::from(denominator) * 10_000.0;
            prop_assert!((taken as f64 - want).abs() < 400.0, "{taken} for {want}");
        }
    }

    #[test]
    fn two_mirrors_draw_independently() {
        let half = Share::Below(u64::MAX / 2);
        let both = (0..10_000).filter(|n| half.takes(mix(*n, 0)) && half.takes(mix(*n, 1))).count();
        assert!((2_200..2_800).contains(&both), "{both}");
    }
}
