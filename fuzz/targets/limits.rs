#![no_main]
fuzz::target!(limits);
