#![no_main]
fuzz::target!(client);
