#![no_main]
fuzz::target!(jwks_parse);
