//! A request's body, as a row gives it.

use std::pin::Pin;

use bytes::Bytes;
use fairway_policies::{Beginning, Incoming};

/// All of it is there, and known to be.
#[derive(Debug)]
pub(crate) struct Body(pub(crate) Bytes);

impl Incoming for Body {
    fn read<'a>(&'a self, most: usize) -> Pin<Box<dyn Future<Output = Beginning> + Send + 'a>> {
        let bytes = self.0.slice(..self.0.len().min(most));
        Box::pin(std::future::ready(Beginning { bytes, is_whole: self.0.len() <= most }))
    }
}
