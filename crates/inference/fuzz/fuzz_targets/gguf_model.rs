//! Any bytes as a GGUF file with a model in it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cactus_inference::fuzzing::gguf_model(data));
