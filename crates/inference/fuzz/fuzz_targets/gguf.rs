//! Any bytes as the headers of a GGUF file.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cactus_inference::fuzzing::gguf(data));
