#![no_main]

#[allow(dead_code, reason = "each binary runs one of them")]
#[path = "../src/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::frames(bytes));
