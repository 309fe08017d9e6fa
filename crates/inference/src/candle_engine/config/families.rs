//! What each family of decoders fixes in its code rather than in its configuration, as Hugging
//! Face transformers does. It never looks at the shapes of tensors.

use super::super::architecture::{Activation, Biases, LayerKind, Layout, Norms};
use super::{CONTEXT_LIMIT, Raw, Refusal, positive, within};

/// The decoders that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Llama,
    Mistral,
    Qwen2,
    Qwen3,
    Gemma2,
    Gemma3,
    Phi3,
}

const SERVED: &str = "Llama (llama), Mistral (mistral), Qwen 2 and 2.5 (qwen2), Qwen 3 (qwen3), \
                      Gemma 2 (gemma2), Gemma 3 (gemma3, gemma3_text), Phi-3 (phi3), and for \
                      embeddings BERT (bert)";

impl Family {
    pub(super) fn parse(model_type: &str) -> Result<Self, Refusal> {
        match model_type {
            "llama" => Ok(Self::Llama),
            "mistral" => Ok(Self::Mistral),
            "qwen2" => Ok(Self::Qwen2),
            "qwen3" => Ok(Self::Qwen3),
            "gemma2" => Ok(Self::Gemma2),
            "gemma3" | "gemma3_text" => Ok(Self::Gemma3),
            "phi3" => Ok(Self::Phi3),
            other => {
                Err(Refusal::Unsupported(format!("model type `{other}`; served are {SERVED}")))
            }
        }
    }

    /// Fills in what published configurations of the family leave out.
    pub(super) fn complete(self, raw: &mut Raw) {
        if self == Self::Gemma3 {
            raw.vocab_size.get_or_insert(262_208);
            raw.num_attention_heads.get_or_insert(8);
            raw.num_key_value_heads.get_or_insert(4);
            raw.head_dim.get_or_insert(256);
            raw.max_position_embeddings.get_or_insert(131_072);
            raw.rms_norm_eps.get_or_insert(1e-6);
            raw.sliding_window.get_or_insert(4096);
            raw.query_pre_attn_scalar.get_or_insert(256.0);
        }
    }

    fn is_gemma(self) -> bool {
        matches!(self, Self::Gemma2 | Self::Gemma3)
    }

    pub(super) fn ties_embeddings(self) -> bool {
        self.is_gemma()
    }

    pub(super) fn embedding_scale(self, hidden: usize) -> f32 {
        // Widths are at most 2²⁰, so the conversion is exact.
        if self.is_gemma() { (hidden as f32).sqrt() } else { 1.0 }
    }

    pub(super) fn layout(self) -> Layout {
        if self == Self::Phi3 { Layout::Fused } else { Layout::Separate }
    }

    pub(super) fn biases(self, raw: &Raw) -> Biases {
        let attention = raw.attention_bias.unwrap_or_default();
        match self {
            Self::Qwen2 => Biases { query_key_value: true, output: false, mlp: false },
            Self::Mistral | Self::Phi3 => Biases::default(),
            Self::Llama | Self::Qwen3 | Self::Gemma2 | Self::Gemma3 => {
                let mlp = self == Self::Llama && raw.mlp_bias.unwrap_or_default();
                Biases { query_key_value: attention, output: attention, mlp }
            }
        }
    }

    pub(super) fn norms(self, epsilon: f32) -> Norms {
        Norms {
            epsilon,
            offset: if self.is_gemma() { 1.0 } else { 0.0 },
            after: self.is_gemma(),
            heads: matches!(self, Self::Qwen3 | Self::Gemma3),
        }
    }

    pub(super) fn activation(self) -> Activation {
        if self.is_gemma() { Activation::GeluTanh } else { Activation::Silu }
    }

    pub(super) fn attention_scale(self, raw: &Raw, head_dimension: u16) -> Result<f32, String> {
        let squared = match self.is_gemma() {
            true => positive("query_pre_attn_scalar", raw.query_pre_attn_scalar)?,
            false => f32::from(head_dimension),
        };
        Ok(squared.sqrt().recip())
    }

    pub(super) fn softcap(self, raw: &Raw, cap: Option<f32>) -> Result<Option<f32>, Refusal> {
        if raw.use_bidirectional_attention == Some(true) {
            return Err(Refusal::Unsupported("attention to later tokens".to_owned()));
        }
        match cap.filter(|_| self.is_gemma()) {
            None => Ok(None),
            some => Ok(Some(positive("logit_softcapping", some)?)),
        }
    }

    /// The kind of each layer, and how many rotations they choose from.
    pub(super) fn layers(
        self,
        raw: &Raw,
        count: usize,
    ) -> Result<(Vec<LayerKind>, usize), Refusal> {
        let window = match raw.sliding_window.filter(|_| self.slides(raw)) {
            None => None,
            some => Some(within("sliding_window", some, CONTEXT_LIMIT)?),
        };
        let slides = match (&raw.layer_types, self) {
            (_, Self::Llama | Self::Mistral | Self::Phi3) => vec![true; count],
            (Some(types), _) => parse_layer_types(types, count)?,
            (None, Self::Qwen2 | Self::Qwen3) => {
                let first = raw.max_window_layers.and_then(|first| usize::try_from(first).ok());
                (0..count).map(|layer| first.is_some_and(|first| layer >= first)).collect()
            }
            (None, Self::Gemma2 | Self::Gemma3) => {
                let usual = if self == Self::Gemma2 { 2 } else { 6 };
                let pattern = Some(raw.sliding_window_pattern.unwrap_or(usual));
                let pattern = within("sliding_window_pattern", pattern, CONTEXT_LIMIT)?;
                (1..=count).map(|layer| layer % pattern != 0).collect()
            }
        };
        let own_rope = self == Self::Gemma3;
        let kind = |slides: bool| LayerKind {
            window: window.filter(|_| slides),
            rope: usize::from(own_rope && slides),
        };
        Ok((slides.into_iter().map(kind).collect(), 1 + usize::from(own_rope)))
    }

    /// Whether `sliding_window` means anything.
    fn slides(self, raw: &Raw) -> bool {
        match self {
            Self::Llama => false,
            Self::Qwen2 | Self::Qwen3 => raw.use_sliding_window.unwrap_or_default(),
            Self::Mistral | Self::Gemma2 | Self::Gemma3 | Self::Phi3 => true,
        }
    }
}

/// Whether each layer slides.
fn parse_layer_types(types: &[String], count: usize) -> Result<Vec<bool>, Refusal> {
    if types.len() != count {
        return Err(format!("layer_types has {} entries for {count} layers", types.len()).into());
    }
    let slides = |kind: &String| match kind.as_str() {
        "full_attention" => Ok(false),
        "sliding_attention" => Ok(true),
        other => Err(Refusal::Unsupported(format!("layer type `{other}`"))),
    };
    types.iter().map(slides).collect()
}
