//! Where every local network is: the values that the daemons and the command line take when
//! nobody names others. It holds no secret; the well-known key of a local admin is the local
//! chain's to tell.

use cactus_protocol::Address;

/// The chain id of local networks, as Aptos' own.
pub const LOCALNET_CHAIN_ID: u8 = 4;

/// The REST API of a local network with its usual port.
pub const LOCALNET_URL: &str = "http://127.0.0.1:8788/v1";

/// The contracts' account on every local network (public knowledge, as is its key).
pub const LOCALNET_CONTRACT: Address = Address([
    0x77, 0x0e, 0xb1, 0xb3, 0x17, 0x0b, 0xcd, 0xd2, 0x7a, 0xab, 0x10, 0xae, 0xd5, 0x4a, 0x73, 0xbf,
    0x2b, 0x40, 0xf4, 0x9c, 0x88, 0xae, 0x43, 0x09, 0x57, 0x99, 0x27, 0x98, 0xc9, 0xcd, 0xfe, 0xd8,
]);
