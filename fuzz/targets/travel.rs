#![no_main]
fuzz::target!(travel);
