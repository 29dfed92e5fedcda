//! Latencies in buckets less than 1.6 % wide.

/// Counts of durations in nanoseconds.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max: u64,
}

/// 64 buckets for each power of two of 64 bits.
const BUCKETS: usize = 59 * 64;

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0, max: 0 }
    }

    pub(crate) fn record(&mut self, nanos: u64) {
        if let Some(bucket) = self.buckets.get_mut(index(nanos)) {
            *bucket += 1;
        }
        self.count += 1;
        self.max = self.max.max(nanos);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    /// The value that `quantile` (0 to 1) of all are not over, in microseconds; 0 when empty.
    pub(crate) fn micros(&self, quantile: f64) -> f64 {
        let wanted = (quantile * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (i, n) in self.buckets.iter().enumerate() {
            seen += n;
            if seen >= wanted {
                return upper(i).min(self.max) as f64 / 1e3;
            }
        }
        0.0
    }

    pub(crate) fn max_micros(&self) -> f64 {
        self.max as f64 / 1e3
    }
}

const fn index(nanos: u64) -> usize {
    let shift = (63 - (nanos | 1).leading_zeros() as usize).saturating_sub(6);
    shift * 64 + (nanos >> shift) as usize
}

/// The largest value of a bucket.
const fn upper(index: usize) -> u64 {
    if index < 128 {
        return index as u64;
    }
    let shift = index / 64 - 1;
    (((index - shift * 64) as u64 + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_falls_into_the_bucket_whose_bounds_hold_it() {
        let mut value = 1_u64;
        while value < 1 << 60 {
            for v in [value - 1, value, value + value / 3] {
                let i = index(v);
                assert!(v <= upper(i), "{v}");
                assert!(i == 0 || v > upper(i - 1), "{v}");
                assert!((upper(i) - v) as f64 <= v as f64 * 0.016 + 1.0);
            }
            value *= 2;
        }
        assert!(index(u64::MAX) < BUCKETS);
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut a = Histogram::new();
        let mut b = Histogram::new();
        (1..=500).for_each(|i| a.record(i * 1000));
        (501..=1000).for_each(|i| b.record(i * 1000));
        a.merge(&b);
        assert_eq!(a.count(), 1000);
        assert!((a.micros(0.5) - 500.0).abs() < 8.0, "{}", a.micros(0.5));
        assert!((a.micros(0.99) - 990.0).abs() < 16.0, "{}", a.micros(0.99));
        assert_eq!(a.micros(1.0), 1000.0);
        assert_eq!(Histogram::new().micros(0.5), 0.0);
    }
}
