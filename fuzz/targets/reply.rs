#![no_main]
fuzz::target!(reply);
