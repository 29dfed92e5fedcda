//! What inputs are made of.

/// The first byte says how the rest comes in: in pieces of so many bytes, or as one.
pub(crate) fn cut(data: &[u8]) -> Option<(&[u8], Vec<&[u8]>)> {
    let (size, bytes) = data.split_first()?;
    let size = if *size == 0 { bytes.len().max(1) } else { usize::from(*size) };
    Some((bytes, bytes.chunks(size).collect()))
}

/// Choices for structured inputs: one byte each; when there are none left, all are 0.
pub(crate) struct Choices<'a>(pub(crate) &'a [u8]);

impl Choices<'_> {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first) % end
    }

    pub(crate) fn one<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[self.below(of.len())]
    }

    /// Some of `of`, at most `most`, each in its turn.
    pub(crate) fn some<T: Clone>(&mut self, of: &[T], most: usize) -> Vec<T> {
        let count = self.below(most + 1);
        (0..count).map(|_| self.one(of).clone()).collect()
    }

    /// One in `of`.
    pub(crate) fn rarely(&mut self, of: usize) -> bool {
        self.below(of) == 1
    }
}
