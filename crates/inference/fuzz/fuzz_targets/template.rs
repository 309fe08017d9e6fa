//! Any bytes as the chat template of a directory.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cactus_inference::fuzzing::text("chat_template.jinja", data));
