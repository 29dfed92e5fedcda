#![no_main]
fuzz::target!(jwt_verify);
