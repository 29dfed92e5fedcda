#![no_main]
fuzz::target!(chunked);
