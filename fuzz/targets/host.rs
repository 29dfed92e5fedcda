#![no_main]
fuzz::target!(host);
