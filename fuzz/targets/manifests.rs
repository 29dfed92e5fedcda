#![no_main]
fuzz::target!(manifests);
