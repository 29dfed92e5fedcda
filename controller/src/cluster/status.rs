//! Status: what is to be said, what the API server has, and the writes between the two. Leader only.

mod assemble;
mod diff;
mod queue;
mod said;
mod transitions;
mod writer;

pub(crate) use self::writer::Writer;

#[cfg(test)]
pub(crate) use self::{assemble::Told, said::Said};
