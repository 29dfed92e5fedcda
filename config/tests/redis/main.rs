//! What is kept in Redis, with a real one: Debian's `redis-server`, which each test starts for itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test")]

mod ask;
mod away;
mod quota;
mod rls;
mod server;
