//! Who proxies are, and who we are to them.

mod authority;
mod tokens;

pub(crate) use self::authority::{Authorities, Rotation, Running, SECRET};
pub(crate) use self::tokens::Tokens;
