//! `cactus localnet`: only the chain, with the contracts on it.

use crate::{args::LocalnetArgs, signals};
use anyhow::{Context, Result};
use cactus_localnet::{CONTRACT_ADDRESS, LOCALNET_CHAIN_ID, Localnet, LocalnetConfig};
use serde_json::json;
use std::net::{Ipv4Addr, TcpListener};

pub async fn run(args: LocalnetArgs, json: bool) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port)).with_context(|| {
        format!("cannot listen on port {}; choose another with --port", args.port)
    })?;
    let url = format!("http://{}", listener.local_addr()?);
    let chain =
        Localnet::open(LocalnetConfig { data_dir: args.data_dir, chain_id: LOCALNET_CHAIN_ID })?;
    if json {
        let ready = json!({ "chain": format!("{url}/v1"), "faucet": url, "contract": CONTRACT_ADDRESS.to_string() });
        println!("{ready}");
    } else {
        println!("chain    {url}/v1 (id {LOCALNET_CHAIN_ID})");
        println!("faucet   {url}");
        println!("contract {CONTRACT_ADDRESS}");
    }
    Ok(chain.serve(listener, signals::until_ctrl_c()).await?)
}
