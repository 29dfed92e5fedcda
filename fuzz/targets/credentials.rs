#![no_main]
fuzz::target!(credentials);
