#![no_main]
fuzz::target!(authorization);
