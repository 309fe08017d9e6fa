//! What a client wishes of whoever answers: headers, or the `cactus` object of a JSON body, which
//! wins. It chooses nobody; dispatch does.

use crate::error::Invalid;
use actix_web::http::header::HeaderMap;
use cactus_protocol::{Octas, Price, PublicKey};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

/// The priority of a request that names none; higher is more urgent.
pub const USUAL_PRIORITY: u8 = 128;
/// The priority of a batch's lines.
pub const BATCH_PRIORITY: u8 = 0;
/// The longest region, key or name of hardware, in bytes.
const MAX_TEXT_BYTES: usize = 80;

/// What a client wishes of whoever answers. What is `None` is left to dispatch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preferences {
    /// The most to pay, in octas per 1,000 tokens.
    pub max_price: Option<Price>,
    /// Where the node says it is, such as `eu-west`.
    pub region: Option<String>,
    /// The least that must stand behind the node.
    pub min_stake: Option<Octas>,
    /// Part of the name of an accelerator, such as `H200`; case does not matter.
    pub gpu: Option<String>,
    /// This node and no other.
    pub node: Option<PublicKey>,
    /// Higher is more urgent.
    pub priority: u8,
    /// Milliseconds from the request's arrival after which nobody wants the answer.
    pub deadline_ms: Option<u32>,
}

impl Default for Preferences {
    fn default() -> Self {
        Self {
            max_price: None,
            region: None,
            min_stake: None,
            gpu: None,
            node: None,
            priority: USUAL_PRIORITY,
            deadline_ms: None,
        }
    }
}

/// The `cactus` object of a body. A misspelt wish is refused: it may be a limit on a price.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawPreferences {
    max_price: Option<RawPrice>,
    region: Option<String>,
    /// In octas.
    min_stake: Option<u64>,
    gpu: Option<String>,
    node: Option<String>,
    priority: Option<u8>,
    deadline_ms: Option<u32>,
}

/// Octas per 1,000 tokens: one number for prompt and output alike, or one for each.
#[derive(Debug)]
enum RawPrice {
    Both(u64),
    Each(EachPrice),
}

#[derive(Debug, Deserialize)]
struct EachPrice {
    prompt: u64,
    output: u64,
}

impl<'de> Deserialize<'de> for RawPrice {
    // Not an untagged enum: those lose numbers where some crate of the build has serde_json keep
    // them as text (`arbitrary_precision`).
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let read = if value.is_object() {
            serde_json::from_value(value).map(Self::Each)
        } else {
            serde_json::from_value(value).map(Self::Both)
        };
        read.map_err(D::Error::custom)
    }
}

impl From<RawPrice> for Price {
    fn from(raw: RawPrice) -> Self {
        let (prompt, output) = match raw {
            RawPrice::Both(octas) => (octas, octas),
            RawPrice::Each(EachPrice { prompt, output }) => (prompt, output),
        };
        Self { prompt: Octas(prompt), output: Octas(output) }
    }
}

impl Preferences {
    /// Reads the headers and the body's `cactus` object.
    ///
    /// # Errors
    /// [`Invalid`] names the wish that cannot be read.
    pub fn parse(headers: &HeaderMap, body: Option<RawPreferences>) -> Result<Self, Invalid> {
        let body = body.unwrap_or_default();
        let max_price = match body.max_price {
            Some(price) => Some(price.into()),
            None => header(headers, "X-Cactus-Max-Price")?.map(parse_price).transpose()?,
        };
        let min_stake = match body.min_stake {
            None => number(headers, "X-Cactus-Min-Stake")?,
            given => given,
        };
        let node = text(headers, ("X-Cactus-Node", body.node))?;
        let usual = || Ok(number(headers, "X-Cactus-Priority")?.unwrap_or(USUAL_PRIORITY));
        let deadline_ms = match body.deadline_ms {
            None => number(headers, "X-Cactus-Deadline-Ms")?,
            given => given,
        };
        if deadline_ms == Some(0) {
            return Err(Invalid::value("X-Cactus-Deadline-Ms", "must be at least 1"));
        }
        Ok(Self {
            max_price,
            region: text(headers, ("X-Cactus-Region", body.region))?,
            min_stake: min_stake.map(Octas),
            gpu: text(headers, ("X-Cactus-Gpu", body.gpu))?,
            node: node.map(|text| parse_node(&text)).transpose()?,
            priority: body.priority.map_or_else(usual, Ok)?,
            deadline_ms,
        })
    }
}

fn parse_node(text: &str) -> Result<PublicKey, Invalid> {
    text.parse().map_err(|_| {
        Invalid::value("X-Cactus-Node", "must be a node's key as /v1/nodes shows it: 0x and digits")
    })
}

/// `PRICE` or `PROMPT/OUTPUT`.
fn parse_price(text: &str) -> Result<Price, Invalid> {
    let octas = |text: &str| text.trim().parse().ok();
    let price = match text.split_once('/') {
        Some((prompt, output)) => octas(prompt).zip(octas(output)),
        None => octas(text).map(|both| (both, both)),
    };
    let (prompt, output) = price.ok_or_else(|| {
        let text = "must be octas per 1,000 tokens, such as `1000` or `1000/4000` (prompt/output)";
        Invalid::value("X-Cactus-Max-Price", text)
    })?;
    Ok(Price { prompt: Octas(prompt), output: Octas(output) })
}

fn header<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, Invalid> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text = value.to_str().map_err(|_| Invalid::value(name, "must be plain text"))?;
    Ok(Some(text.trim()))
}

fn number<T: std::str::FromStr>(
    headers: &HeaderMap,
    name: &'static str,
) -> Result<Option<T>, Invalid> {
    let parse = |text: &str| {
        text.parse().map_err(|_| Invalid::value(name, "must be a whole number in its range"))
    };
    header(headers, name)?.map(parse).transpose()
}

/// A text within its bounds; the body's wins over the header's.
fn text(
    headers: &HeaderMap,
    (name, body): (&'static str, Option<String>),
) -> Result<Option<String>, Invalid> {
    let text = match body {
        Some(text) => Some(text),
        None => header(headers, name)?.map(str::to_owned),
    };
    match text {
        Some(text) if text.is_empty() || text.len() > MAX_TEXT_BYTES => {
            Err(Invalid::value(name, format!("must have 1 to {MAX_TEXT_BYTES} bytes")))
        }
        text => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{HeaderName, HeaderValue};
    use cactus_protocol::SecretKey;

    fn read(headers: &[(&'static str, &str)], body: &str) -> Result<Preferences, Invalid> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.insert(name, HeaderValue::from_str(value).unwrap());
        }
        let body = (!body.is_empty()).then(|| serde_json::from_str(body).unwrap());
        Preferences::parse(&map, body)
    }

    #[test]
    fn nothing_asked_is_nothing_wished() {
        assert_eq!(read(&[], "").unwrap(), Preferences::default());
        assert_eq!(read(&[], "{}").unwrap(), Preferences::default());
    }

    #[test]
    fn headers_are_read_and_the_body_wins() {
        let node = SecretKey::random().public();
        let headers = [
            ("x-cactus-max-price", "10/20"),
            ("x-cactus-region", " eu-west "),
            ("x-cactus-min-stake", "5"),
            ("x-cactus-gpu", "H200"),
            ("x-cactus-node", &node.to_string()),
            ("x-cactus-priority", "7"),
            ("x-cactus-deadline-ms", "900"),
        ];
        let from_headers = read(&headers, "").unwrap();
        let wished = Preferences {
            max_price: Some(Price { prompt: Octas(10), output: Octas(20) }),
            region: Some("eu-west".into()),
            min_stake: Some(Octas(5)),
            gpu: Some("H200".into()),
            node: Some(node),
            priority: 7,
            deadline_ms: Some(900),
        };
        assert_eq!(from_headers, wished);
        let body = r#"{"max_price": 3, "region": "us", "priority": 0, "deadline_ms": 5}"#;
        let both = read(&headers, body).unwrap();
        assert_eq!(both.max_price, Some(Price { prompt: Octas(3), output: Octas(3) }));
        assert_eq!((both.region.as_deref(), both.priority), (Some("us"), 0));
        assert_eq!((both.deadline_ms, both.gpu), (Some(5), wished.gpu));
    }

    #[test]
    fn a_wish_that_cannot_be_read_is_refused_by_name() {
        for (name, value) in [
            ("X-Cactus-Max-Price", "cheap"),
            ("X-Cactus-Max-Price", "1/"),
            ("X-Cactus-Max-Price", "-1"),
            ("X-Cactus-Region", ""),
            ("X-Cactus-Gpu", &"x".repeat(100)),
            ("X-Cactus-Min-Stake", "1.5"),
            ("X-Cactus-Node", "0x12"),
            ("X-Cactus-Priority", "256"),
            ("X-Cactus-Deadline-Ms", "0"),
        ] {
            let refused = read(&[(name, value)], "").unwrap_err();
            assert_eq!(refused.param, Some(name), "{value}");
        }
        assert!(serde_json::from_str::<RawPreferences>(r#"{"max_prise": 1}"#).is_err());
    }
}
