//! Any bytes as the weights of a directory.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cactus_inference::fuzzing::weights("model.safetensors", data));
