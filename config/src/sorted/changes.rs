//! What differs between two versions.

use std::cmp::Ordering;
use std::sync::Arc;

use super::{Chunk, Entry};

/// See [`Sorted::changes`](super::Sorted::changes).
#[derive(Debug)]
pub struct Changes<'a, E> {
    old: Cursor<'a, E>,
    new: Cursor<'a, E>,
}

#[derive(Debug)]
struct Cursor<'a, E> {
    /// Those not finished; the first is where it stands.
    chunks: &'a [Chunk<E>],
    place: usize,
}

impl<'a, E> Cursor<'a, E> {
    fn peek(&self) -> Option<&'a E> {
        self.chunks.first()?.get(self.place)
    }

    fn advance(&mut self) {
        self.place += 1;
        if self.chunks.first().is_none_or(|chunk| self.place >= chunk.len()) {
            self.skip();
        }
    }

    fn skip(&mut self) {
        self.chunks = self.chunks.get(1..).unwrap_or_default();
        self.place = 0;
    }
}

impl<'a, E: Entry> Changes<'a, E> {
    pub(super) fn new(old: &'a [Chunk<E>], new: &'a [Chunk<E>]) -> Self {
        Self { old: Cursor { chunks: old, place: 0 }, new: Cursor { chunks: new, place: 0 } }
    }

    fn skip_shared(&mut self) {
        while self.old.place == 0
            && self.new.place == 0
            && let (Some(old), Some(new)) = (self.old.chunks.first(), self.new.chunks.first())
            && Arc::ptr_eq(old, new)
        {
            self.old.skip();
            self.new.skip();
        }
    }
}

impl<'a, E: Entry> Iterator for Changes<'a, E> {
    type Item = (Option<&'a E>, Option<&'a E>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.skip_shared();
            let (old, new) = (self.old.peek(), self.new.peek());
            let order = match (old, new) {
                (None, None) => return None,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(old), Some(new)) => old.order(new),
            };
            if order.is_le() {
                self.old.advance();
            }
            if order.is_ge() {
                self.new.advance();
            }
            match (order, old, new) {
                (Ordering::Equal, Some(old), Some(new)) if old.is_identical(new) => {}
                (Ordering::Equal, old, new) => return Some((old, new)),
                (Ordering::Less, old, _) => return Some((old, None)),
                (Ordering::Greater, _, new) => return Some((None, new)),
            }
        }
    }
}
