#![no_main]
fuzz::target!(cel);
