//! Names the trace that a request belongs to, as W3C Trace Context does, so that what several
//! machines record of it can be put together. It never says anything about the request itself.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The bytes of a `traceparent` header of version 00.
const HEADER_BYTES: usize = 55;
/// The one flag that version 00 defines.
const SAMPLED: u8 = 1;

/// A place in a trace: the trace, and the span that caused what comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceContext {
    /// Names the trace; never all zeroes.
    pub trace_id: [u8; 16],
    /// Names the span; never all zeroes.
    pub span_id: [u8; 8],
    /// Whether whoever caused this records its part.
    pub is_sampled: bool,
}

/// The text is no `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent of W3C Trace Context: 00-<32 hex digits>-<16>-<2>")]
pub struct BadTraceContext;

impl FromStr for TraceContext {
    type Err = BadTraceContext;

    /// Reads a `traceparent`. Of versions after 00 it reads what they have in common with 00.
    fn from_str(header: &str) -> Result<Self, BadTraceContext> {
        let bytes = header.as_bytes();
        let (known, rest) = bytes.split_at_checked(HEADER_BYTES).ok_or(BadTraceContext)?;
        let [version] = lower_hex::<1>(&known[..2])?;
        let has_dashes = [2, 35, 52].iter().all(|place| known[*place] == b'-');
        let ends_well = rest.is_empty() || (version > 0 && rest[0] == b'-');
        let [flags] = lower_hex::<1>(&known[53..])?;
        let context = Self {
            trace_id: lower_hex(&known[3..35])?,
            span_id: lower_hex(&known[36..52])?,
            is_sampled: flags & SAMPLED != 0,
        };
        let is_valid = version != 0xff && has_dashes && ends_well && context.is_valid();
        if is_valid { Ok(context) } else { Err(BadTraceContext) }
    }
}

impl TraceContext {
    /// Whether both names are names. Bytes from a peer may be anything.
    pub fn is_valid(&self) -> bool {
        self.trace_id != [0; 16] && self.span_id != [0; 8]
    }
}

impl fmt::Display for TraceContext {
    /// The `traceparent` header.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, span) = (hex::encode(self.trace_id), hex::encode(self.span_id));
        write!(f, "00-{trace}-{span}-{:02x}", u8::from(self.is_sampled))
    }
}

fn lower_hex<const N: usize>(digits: &[u8]) -> Result<[u8; N], BadTraceContext> {
    if digits.iter().any(u8::is_ascii_uppercase) {
        return Err(BadTraceContext);
    }
    let mut bytes = [0; N];
    hex::decode_to_slice(digits, &mut bytes).map_err(|_| BadTraceContext)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EXAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn the_specifications_example_is_read_and_written() {
        let context: TraceContext = EXAMPLE.parse().unwrap();
        assert!(context.is_sampled);
        assert_eq!(context.to_string(), EXAMPLE);
        let unsampled: TraceContext = EXAMPLE.replace("-01", "-00").parse().unwrap();
        assert!(!unsampled.is_sampled);
    }

    #[test]
    fn later_versions_may_say_more_and_this_one_may_not() {
        let later = EXAMPLE.replacen("00", "01", 1);
        assert!(later.parse::<TraceContext>().is_ok());
        assert!(format!("{later}-more").parse::<TraceContext>().is_ok());
        assert_eq!(format!("{EXAMPLE}-more").parse::<TraceContext>(), Err(BadTraceContext));
    }

    #[test]
    fn what_is_malformed_is_refused() {
        let wrong = [
            "".to_owned(),
            EXAMPLE[..54].to_owned(),
            EXAMPLE.replacen("00", "ff", 1),
            EXAMPLE.replace('a', "A"),
            EXAMPLE.replace('-', "_"),
            EXAMPLE.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            EXAMPLE.replace("b7ad6b7169203331", &"0".repeat(16)),
            "é".repeat(40),
        ];
        for header in wrong {
            assert_eq!(header.parse::<TraceContext>(), Err(BadTraceContext), "{header}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,80}") {
            if let Ok(context) = text.parse::<TraceContext>() {
                prop_assert!(context.is_valid());
            }
        }
    }
}
