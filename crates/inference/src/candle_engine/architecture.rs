//! What distinguishes one decoder from another, as checked values: every family is a setting of
//! these knobs over one forward pass. It never reads a file.

use super::rope::Rope;

/// A decoder-only transformer with rotary positions, RMS norms and a gated MLP.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Architecture {
    pub(crate) vocabulary: usize,
    pub(crate) hidden: usize,
    pub(crate) intermediate: usize,
    pub(crate) heads: usize,
    pub(crate) key_heads: usize,
    pub(crate) head_dimension: usize,
    pub(crate) context_length: u32,
    /// One entry per layer.
    pub(crate) layers: Vec<LayerKind>,
    /// The rotations that layers choose from.
    pub(crate) ropes: Vec<Rope>,
    /// Whether the head shares the matrix of the embeddings.
    pub(crate) tied_embeddings: bool,
    /// What embeddings are multiplied by.
    pub(crate) embedding_scale: f32,
    /// Whether the configuration says that weights have 16 bits; what it says is not trusted beyond
    /// estimates.
    pub(crate) stored_in_half: bool,
    pub(crate) layout: Layout,
    pub(crate) biases: Biases,
    pub(crate) norms: Norms,
    pub(crate) activation: Activation,
    /// What the product of a query and a key is multiplied by.
    pub(crate) attention_scale: f32,
    /// Scores of attention are bent to stay within ± this.
    pub(crate) attention_softcap: Option<f32>,
    /// Logits are bent to stay within ± this.
    pub(crate) logit_softcap: Option<f32>,
}

/// What differs from layer to layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LayerKind {
    /// How many positions a query sees, its own included; `None` sees all before it.
    pub(crate) window: Option<usize>,
    /// Index into [`Architecture::ropes`].
    pub(crate) rope: usize,
}

/// How the projections of a layer are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `q_proj`, `k_proj`, `v_proj`, `gate_proj`, `up_proj`.
    Separate,
    /// `qkv_proj` and `gate_up_proj`.
    Fused,
}

/// Which projections add a bias.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Biases {
    pub(crate) query_key_value: bool,
    pub(crate) output: bool,
    pub(crate) mlp: bool,
}

/// The RMS norms of a layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Norms {
    pub(crate) epsilon: f32,
    /// Added to every stored norm weight: 1 where weights are stored around zero.
    pub(crate) offset: f32,
    /// Whether what attention and MLP add is normed too, and not only what they read.
    pub(crate) after: bool,
    /// Whether each head of queries and keys is normed before it is rotated.
    pub(crate) heads: bool,
}

/// The gate of the MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    /// x · sigmoid(x).
    Silu,
    /// The tanh approximation of GELU.
    GeluTanh,
}

impl Architecture {
    /// Values that one layer keeps per position: a key and a value for each key head.
    pub(crate) fn slot_width(&self) -> usize {
        2 * self.key_heads * self.head_dimension
    }

    /// The tensors of a layer, below `model.layers.N.`, and their shapes.
    pub(crate) fn layer_tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (hidden, queries) = (self.hidden, self.heads * self.head_dimension);
        let keys = self.key_heads * self.head_dimension;
        let mut tensors = Vec::new();
        let mut matrix = |name: &str, outputs: usize, inputs: usize, bias: bool| {
            tensors.push((format!("{name}.weight"), vec![outputs, inputs]));
            if bias {
                tensors.push((format!("{name}.bias"), vec![outputs]));
            }
        };
        for (name, outputs) in self.attention_parts().iter().zip(match self.layout {
            Layout::Separate => vec![queries, keys, keys],
            Layout::Fused => vec![queries + 2 * keys],
        }) {
            matrix(name, outputs, hidden, self.biases.query_key_value);
        }
        matrix("self_attn.o_proj", hidden, queries, self.biases.output);
        for (name, outputs) in self.gate_parts().iter().zip(match self.layout {
            Layout::Separate => vec![self.intermediate; 2],
            Layout::Fused => vec![2 * self.intermediate],
        }) {
            matrix(name, outputs, hidden, self.biases.mlp);
        }
        matrix("mlp.down_proj", hidden, self.intermediate, self.biases.mlp);
        for norm in self.layer_norms() {
            tensors.push((format!("{norm}.weight"), vec![hidden]));
        }
        if self.norms.heads {
            for norm in ["self_attn.q_norm", "self_attn.k_norm"] {
                tensors.push((format!("{norm}.weight"), vec![self.head_dimension]));
            }
        }
        tensors
    }

    /// The matrices whose rows together are queries, keys and values.
    pub(crate) fn attention_parts(&self) -> &'static [&'static str] {
        match self.layout {
            Layout::Separate => &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
            Layout::Fused => &["self_attn.qkv_proj"],
        }
    }

    /// The matrices whose rows together are gates and ups.
    pub(crate) fn gate_parts(&self) -> &'static [&'static str] {
        match self.layout {
            Layout::Separate => &["mlp.gate_proj", "mlp.up_proj"],
            Layout::Fused => &["mlp.gate_up_proj"],
        }
    }

    /// The norms before attention and before the MLP, and after each where there are such.
    pub(crate) fn layer_norms(&self) -> &'static [&'static str] {
        if self.norms.after {
            &[
                "input_layernorm",
                "pre_feedforward_layernorm",
                "post_attention_layernorm",
                "post_feedforward_layernorm",
            ]
        } else {
            &["input_layernorm", "post_attention_layernorm"]
        }
    }
}
