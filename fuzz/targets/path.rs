#![no_main]
fuzz::target!(path);
