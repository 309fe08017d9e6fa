//! What a model says about itself.
//! It never reads files; the loader fills it in.

use std::fmt;

/// The number format of the weights as stored. Files may mix them; a card names the one that most
/// weights have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WeightType {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// bfloat16.
    Bf16,
    /// GGUF: 4 bits and a scale per 32 weights.
    Q4_0,
    /// GGUF: 5 bits and a scale per 32 weights.
    Q5_0,
    /// GGUF: 8 bits and a scale per 32 weights.
    Q8_0,
    /// GGUF: 4 bits, with scales in blocks of 256.
    Q4K,
    /// GGUF: 5 bits, with scales in blocks of 256.
    Q5K,
    /// GGUF: 6 bits, with scales in blocks of 256.
    Q6K,
}

impl fmt::Display for WeightType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Q4_0 => "q4_0",
            Self::Q5_0 => "q5_0",
            Self::Q8_0 => "q8_0",
            Self::Q4K => "q4_k",
            Self::Q5K => "q5_k",
            Self::Q6K => "q6_k",
        })
    }
}

/// The identity and the limits of a loaded model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelCard {
    /// The name under which it is served: the name of its directory.
    pub id: String,
    /// Merkle root (SHA3-256) over weights, tokenizer, template and configuration; two nodes with
    /// the same revision serve the same model.
    pub revision: [u8; 32],
    /// The format of the weights on disk; computation is in F32 on a CPU.
    pub dtype: WeightType,
    /// The most tokens of prompt and answer together: the model's own limit, or what this node's KV
    /// cache holds if that is less.
    pub context_length: u32,
    /// Number of weights; tied ones count once.
    pub parameters: u64,
    /// What it takes, as worked out before it was loaded.
    pub memory: MemoryEstimate,
}

/// Memory of a model, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryEstimate {
    /// The weights as they are held.
    pub weights: u64,
    /// Keys and values of all sequences together.
    pub kv_cache: u64,
    /// The largest step.
    pub activations: u64,
}

impl MemoryEstimate {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.weights.saturating_add(self.kv_cache).saturating_add(self.activations)
    }
}
