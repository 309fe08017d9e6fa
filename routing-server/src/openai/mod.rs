//! OpenAI's chat format: requests in, answers and events out. It knows no node and no money.

mod content;
pub mod preferences;
mod request;
pub mod response;

pub use request::ChatCall;
