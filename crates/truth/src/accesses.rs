//! Which places of the chain's state unrelated operations write: none in common, so that an
//! executor such as Block-STM can run them side by side. Never judges reads: state that is only
//! read does not hinder anyone.
