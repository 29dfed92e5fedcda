//! Status: what is to be said, what the API server has, and the writes between the two. Leader only.

mod assemble;
mod diff;
mod queue;
mod transitions;
mod writer;

pub(crate) use self::writer::Writer;
