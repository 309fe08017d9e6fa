//! Any bytes as what a hub says is in a repository, and any text as the name of a model there.
#![no_main]
#![expect(dead_code, reason = "only what reads is called")]

#[path = "../../../../orchestrator/src/hub/listing.rs"]
mod listing;
#[path = "../../../../orchestrator/src/hub/reference.rs"]
mod reference;

/// As much of the orchestrator's error as reading needs.
#[derive(Debug)]
pub enum HubError {
    Odd(String),
    NoModel,
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = listing::Listing::parse(data);
    if let Some(model) = std::str::from_utf8(data).ok().and_then(reference::ModelReference::guess) {
        assert!(model.folder().bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/'));
    }
});
