//! Any bytes as a JSON schema that an answer must follow.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cactus_inference::fuzzing::schema(data));
