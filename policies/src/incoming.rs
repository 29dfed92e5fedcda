//! Bodies of requests, as policies read them.

use std::fmt;
use std::pin::Pin;

use bytes::Bytes;

/// Most bytes that can be asked for of a body: 48 KiB, and one to learn that there are more. What was read has to be kept
/// for the backend, and the engine can keep 64 KiB.
pub const MOST_INCOMING: usize = (48 << 10) + 1;

/// The body of a request on its way in. What is read of it reaches the backend all the same, unchanged.
pub trait Incoming: Send + Sync + fmt::Debug {
    /// Reads until the body has ended or `most` bytes are there, up to [`MOST_INCOMING`]; what was read before counts. A
    /// client that waits to be told (`Expect: 100-continue`) is told. A body that cannot be read, is larger than its
    /// listener allows or does not come in time ends the request: then this never resolves, and is dropped.
    fn read<'a>(&'a self, most: usize) -> Pin<Box<dyn Future<Output = Beginning> + Send + 'a>>;
}

/// The first bytes of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginning {
    /// At most as many as were asked for.
    pub bytes: Bytes,
    /// These are all. False where that is not known yet.
    pub is_whole: bool,
}
