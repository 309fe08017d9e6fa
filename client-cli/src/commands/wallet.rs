//! `cactus wallet`: the user's key.

use crate::{args::WalletCommand, session::Session, wallet};
use anyhow::{Context, Result};
use cactus_protocol::SecretKey;
use serde_json::json;
use std::io::{Read, stdin};
use zeroize::Zeroizing;

/// A key in hex is 64 digits and a prefix; anything longer is not a key.
const LONGEST_KEY: u64 = 256;

pub fn run(session: &Session, command: WalletCommand) -> Result<()> {
    let path = session.wallet_path();
    let (key, secret) = match command {
        WalletCommand::Create => (SecretKey::random(), false),
        WalletCommand::Import => (read_key()?, false),
        WalletCommand::Show { secret } => (wallet::load(&path)?, secret),
    };
    if !matches!(command, WalletCommand::Show { .. }) {
        wallet::store(&path, &key)?;
    }
    let shown = secret.then(|| key.to_hex());
    if session.network.json {
        let secret = shown.as_deref().map(String::as_str);
        println!("{}", json!({ "address": key.address(), "file": path, "secret_key": secret }));
        return Ok(());
    }
    println!("address {}", key.address());
    println!("file    {}", path.display());
    if let Some(secret) = shown {
        println!("secret  {}", *secret);
    }
    Ok(())
}

/// A key comes on standard input, never as an argument that others could see.
fn read_key() -> Result<SecretKey> {
    let mut text = Zeroizing::new(String::new());
    stdin().take(LONGEST_KEY).read_to_string(&mut text).context("cannot read the key")?;
    text.parse().context("standard input holds no key in hex; try `cactus wallet import < key.txt`")
}
