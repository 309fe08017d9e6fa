//! Any bytes as the `config.json` of a directory.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cactus_inference::fuzzing::weights("config.json", data));
