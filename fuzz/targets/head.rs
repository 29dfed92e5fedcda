#![no_main]
fuzz::target!(head);
