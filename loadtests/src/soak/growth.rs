//! Memory and open files over time.

use std::fmt;

/// Mebibytes that the last quarter may lie above the second: allocators keep what they had, and settle late.
const MEMORY: f64 = 4.0;
/// Files that may be open two seconds after the load, over those before the first fault: idle connections to backends.
const DESCRIPTORS: usize = 256;

/// Samples at even distances.
#[derive(Debug, Default)]
pub(super) struct Growth {
    mebibytes: Vec<f64>,
    descriptors: Vec<usize>,
    at_end: usize,
}

impl Growth {
    pub(super) fn sample(&mut self, mebibytes: f64, descriptors: usize) {
        self.mebibytes.push(mebibytes);
        self.descriptors.push(descriptors);
    }

    /// Once nothing is asked any more.
    pub(super) const fn end(&mut self, descriptors: usize) {
        self.at_end = descriptors;
    }

    /// Means of the second and of the last quarter.
    pub(super) fn memory(&self) -> (f64, f64) {
        quarters(&self.mebibytes)
    }

    /// The same of open files.
    pub(super) fn descriptors(&self) -> (f64, f64) {
        let descriptors: Vec<f64> = self.descriptors.iter().map(|n| *n as f64).collect();
        quarters(&descriptors)
    }

    /// What has grown.
    pub(super) fn verdict(&self) -> Option<String> {
        let (before, after) = self.memory();
        let (few, many) = self.descriptors();
        let first = self.descriptors.first().copied().unwrap_or(0);
        if after > before + MEMORY {
            return Some(format!("memory has grown from {before:.1} to {after:.1} MiB"));
        }
        if many > few * 1.25 + 64.0 {
            return Some(format!("open files have grown from {few:.0} to {many:.0}"));
        }
        (self.at_end > first + DESCRIPTORS).then(|| format!("{} files are still open", self.at_end))
    }
}

fn quarters(samples: &[f64]) -> (f64, f64) {
    let quarter = samples.len() / 4;
    let mean = |part: Option<&[f64]>| {
        let part = part.unwrap_or_default();
        part.iter().sum::<f64>() / part.len().max(1) as f64
    };
    (mean(samples.get(quarter..2 * quarter)), mean(samples.get(samples.len() - quarter..)))
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((before, after), (few, many)) = (self.memory(), self.descriptors());
        write!(
            f,
            "second and last quarter: {before:.1} and {after:.1} MiB, {few:.0} and {many:.0} open files; {} at the end",
            self.at_end
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_seen_and_a_slow_start_is_none() {
        let grown = |memory: &dyn Fn(usize) -> f64, files: usize| {
            let mut growth = Growth::default();
            (0..40).for_each(|at| growth.sample(memory(at), 50 + at * files));
            growth.end(60);
            growth.verdict()
        };
        assert_eq!(grown(&|at| if at < 8 { 10.0 } else { 40.0 }, 0), None);
        assert!(grown(&|at| at as f64, 0).unwrap().contains("memory"));
        assert!(grown(&|_| 10.0, 10).unwrap().contains("open files"));
    }
}
