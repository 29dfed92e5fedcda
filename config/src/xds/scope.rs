//! Which part of the configuration a Gateway's proxies may see.
