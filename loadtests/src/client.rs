//! Clients that cost little and check every answer.

pub(crate) mod http1;
pub(crate) mod http2;
pub(crate) mod io;
pub(crate) mod load;
pub(crate) mod pace;
