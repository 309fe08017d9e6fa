//! One file per command. A command never parses flags and never exits the process.

pub mod admin;
pub mod balance;
pub mod batch;
pub mod case;
pub mod chat;
pub mod coins;
pub mod demo;
pub mod embed;
pub mod key;
pub mod localnet;
pub mod models;
pub mod nodes;
pub mod quote;
pub mod task;
pub mod up;
pub mod wallet;
pub mod withdraw;
