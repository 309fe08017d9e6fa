//! Any bytes as the `tokenizer.json` of a directory.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cactus_inference::fuzzing::text("tokenizer.json", data));
