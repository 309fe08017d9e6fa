//! How a value becomes one argument of an entry function: its BCS form as Move declares the
//! parameter. Never decides which function is called.

use crate::view::Availability;
use cactus_protocol::{Address, Hash, Octas, OrderId, PublicKey, Signature, TaskId, task::Fault};

/// One argument in BCS.
pub(crate) trait Argument {
    /// The bytes of the argument.
    fn encode(&self) -> Vec<u8>;
}

/// A Move `vector<u8>`: the length as ULEB128, then the bytes.
fn vector(bytes: &[u8]) -> Vec<u8> {
    let mut out = length(bytes.len());
    out.extend_from_slice(bytes);
    out
}

/// ULEB128.
fn length(items: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(2);
    let mut rest = items;
    loop {
        let low = u8::try_from(rest & 0x7f).unwrap_or(0);
        rest >>= 7;
        if rest == 0 {
            out.push(low);
            break;
        }
        out.push(low | 0x80);
    }
    out
}

impl Argument for Address {
    fn encode(&self) -> Vec<u8> {
        self.0.to_vec()
    }
}

/// Ids and digests are vectors of 32 bytes in Move.
macro_rules! vector_of_bytes {
    ($($kind:ty),*) => {
        $(impl Argument for $kind {
            fn encode(&self) -> Vec<u8> {
                vector(&self.0)
            }
        })*
    };
}

vector_of_bytes!(TaskId, OrderId, Hash, PublicKey, Signature);

impl Argument for Option<TaskId> {
    /// No task is an empty id.
    fn encode(&self) -> Vec<u8> {
        self.map_or_else(|| vector(&[]), |id| id.encode())
    }
}

impl<T: Argument> Argument for Vec<T> {
    fn encode(&self) -> Vec<u8> {
        let mut out = length(self.len());
        self.iter().for_each(|item| out.extend(item.encode()));
        out
    }
}

impl Argument for String {
    fn encode(&self) -> Vec<u8> {
        vector(self.as_bytes())
    }
}

impl Argument for u64 {
    fn encode(&self) -> Vec<u8> {
        self.to_le_bytes().to_vec()
    }
}

impl Argument for u32 {
    /// The contracts count in `u64`.
    fn encode(&self) -> Vec<u8> {
        u64::from(*self).encode()
    }
}

impl Argument for Octas {
    fn encode(&self) -> Vec<u8> {
        self.0.encode()
    }
}

impl Argument for bool {
    fn encode(&self) -> Vec<u8> {
        vec![u8::from(*self)]
    }
}

impl Argument for Fault {
    fn encode(&self) -> Vec<u8> {
        vec![self.code()]
    }
}

impl Argument for Availability {
    fn encode(&self) -> Vec<u8> {
        vec![self.code()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_laid_out_as_move_reads_them() {
        assert_eq!(Address([7; 32]).encode(), [7; 32]);
        assert_eq!(TaskId([7; 32]).encode()[..2], [32, 7]);
        assert_eq!(Signature([1; 64]).encode().len(), 65);
        assert_eq!("ab".to_owned().encode(), b"\x02ab");
        assert_eq!("x".repeat(300).encode()[..2], [0xac, 0x02]);
        assert_eq!(Octas(258).encode(), [2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(5_u32.encode().len(), 8);
        assert_eq!(vec![5_u32, 258].encode()[..11], [2, 5, 0, 0, 0, 0, 0, 0, 0, 2, 1]);
        assert_eq!(None::<TaskId>.encode(), [0]);
        assert_eq!(Some(TaskId([7; 32])).encode(), TaskId([7; 32]).encode());
        assert_eq!(Fault::User.encode(), [2]);
        assert_eq!(Availability::Offline.encode(), [3]);
    }
}
