#![no_main]
fuzz::target!(resources);
