//! Controller and proxies over real TLS on loopback. Tokens and the proxies' engines are fakes, and are called so.

mod change;
mod failure;
mod harness;
mod load;
mod quota;
mod security;
mod snapshot;
