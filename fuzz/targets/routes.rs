#![no_main]
fuzz::target!(routes);
