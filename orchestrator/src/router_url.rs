//! Where a routing server is. It never holds a user name, a password or a query: a secret in a
//! URL ends up in logs.

use serde::Deserialize;
use std::{fmt, net::IpAddr, str::FromStr};
use tokio_tungstenite::tungstenite::http::Uri;

/// The path of the link on every routing server.
const LINK_PATH: &str = "/v1/link";

/// The WebSocket address of a routing server's link, for example `wss://router.example/v1/link`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct RouterUrl {
    text: String,
    encrypted: bool,
    loopback: bool,
}

/// The text was not the address of a routing server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no routing server's address ({reason}); expected for example wss://router.example or http://127.0.0.1:8787"
)]
pub struct BadRouterUrl {
    text: String,
    reason: &'static str,
}

impl RouterUrl {
    /// The address as a WebSocket URL.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether prompts and answers would cross a network in the clear.
    pub fn is_exposed(&self) -> bool {
        !self.encrypted && !self.loopback
    }
}

impl fmt::Display for RouterUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for RouterUrl {
    type Error = BadRouterUrl;
    fn try_from(text: String) -> Result<Self, BadRouterUrl> {
        text.parse()
    }
}

impl FromStr for RouterUrl {
    type Err = BadRouterUrl;

    /// Reads `ws://`, `wss://`, `http://` or `https://`, with or without `/v1/link`.
    fn from_str(text: &str) -> Result<Self, BadRouterUrl> {
        let bad = |reason| BadRouterUrl { text: text.chars().take(200).collect(), reason };
        let text = text.trim();
        let uri: Uri = text.parse().map_err(|_| bad("it is no URL"))?;
        let encrypted = match uri.scheme_str() {
            Some("wss" | "https") => true,
            Some("ws" | "http") => false,
            _ => return Err(bad("it must start with ws://, wss://, http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| bad("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(bad("it must not hold a user name or password"));
        }
        if uri.host().is_none_or(str::is_empty) {
            return Err(bad("it names no host"));
        }
        if uri.query().is_some() || text.contains('#') {
            return Err(bad("it must not hold a query or fragment"));
        }
        let base = uri.path().trim_end_matches('/');
        let base = base.strip_suffix(LINK_PATH).unwrap_or(base);
        let scheme = if encrypted { "wss" } else { "ws" };
        Ok(Self {
            text: format!("{scheme}://{authority}{base}{LINK_PATH}"),
            encrypted,
            loopback: is_loopback(authority.host()),
        })
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expect: Result<&str, &str>) {
        match (input.parse::<RouterUrl>(), expect) {
            (Ok(url), Ok(text)) => assert_eq!(url.as_str(), text, "{input}"),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (got, _) => panic!("{input}: {got:?}, expected {expect:?}"),
        }
    }

    #[test]
    fn every_usual_way_to_write_an_address_leads_to_the_link() {
        check("ws://h:1", Ok("ws://h:1/v1/link"));
        check("http://127.0.0.1:8787/", Ok("ws://127.0.0.1:8787/v1/link"));
        check("https://r.example", Ok("wss://r.example/v1/link"));
        check("wss://r.example/v1/link", Ok("wss://r.example/v1/link"));
        check("https://r.example/eu/", Ok("wss://r.example/eu/v1/link"));
        check("ws://[::1]:9", Ok("ws://[::1]:9/v1/link"));
    }

    #[test]
    fn an_address_with_a_secret_or_without_a_scheme_is_refused() {
        check("r.example:80", Err("must start with"));
        check("ftp://r.example", Err("must start with"));
        check("wss://user:word@r.example", Err("password"));
        check("wss://r.example/?key=1", Err("query"));
        check("", Err("no URL"));
    }

    #[test]
    fn only_unencrypted_addresses_beyond_this_machine_are_exposed() {
        let exposed = |text: &str| text.parse::<RouterUrl>().unwrap().is_exposed();
        assert!(exposed("ws://10.0.0.1:8787"));
        assert!(!exposed("wss://10.0.0.1:8787"));
        assert!(!exposed("ws://127.0.0.1:8787"));
        assert!(!exposed("http://[::1]:8787"));
        assert!(!exposed("http://localhost:8787"));
    }
}
