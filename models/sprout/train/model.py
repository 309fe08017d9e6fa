"""Sprout's network: a Llama in plain torch, its parameters named as Hugging Face names them. It only trains; it never decodes."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy, linear, rms_norm, scaled_dot_product_attention, silu

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 928, "hidden_size": 192,
    "intermediate_size": 512, "num_hidden_layers": 6, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 32,
    "hidden_act": "silu", "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    "rope_scaling": None, "attention_bias": False, "mlp_bias": False, "attention_dropout": 0.0, "tie_word_embeddings": True,
    "initializer_range": 0.02, "use_cache": True, "torch_dtype": "bfloat16", "pretraining_tp": 1,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}


class Norm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), CONFIG["rms_norm_eps"])


def rotate(x, cos, sin):
    low, high = x.chunk(2, dim=-1)
    return torch.cat((low * cos - high * sin, high * cos + low * sin), dim=-1)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.heads, self.kv_heads, self.width = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
        self.q_proj = nn.Linear(c["hidden_size"], self.heads * self.width, bias=False)
        self.k_proj = nn.Linear(c["hidden_size"], self.kv_heads * self.width, bias=False)
        self.v_proj = nn.Linear(c["hidden_size"], self.kv_heads * self.width, bias=False)
        self.o_proj = nn.Linear(self.heads * self.width, c["hidden_size"], bias=False)

    def forward(self, x, cos, sin):
        rows, length, _ = x.shape
        split = lambda t, heads: t.view(rows, length, heads, self.width).transpose(1, 2)
        q = rotate(split(self.q_proj(x), self.heads), cos, sin)
        k = rotate(split(self.k_proj(x), self.kv_heads), cos, sin).repeat_interleave(self.heads // self.kv_heads, dim=1)
        v = split(self.v_proj(x), self.kv_heads).repeat_interleave(self.heads // self.kv_heads, dim=1)
        out = scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(out.transpose(1, 2).reshape(rows, length, -1))


class Mlp(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.gate_proj = nn.Linear(c["hidden_size"], c["intermediate_size"], bias=False)
        self.up_proj = nn.Linear(c["hidden_size"], c["intermediate_size"], bias=False)
        self.down_proj = nn.Linear(c["intermediate_size"], c["hidden_size"], bias=False)

    def forward(self, x):
        return self.down_proj(silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.input_layernorm, self.post_attention_layernorm = Norm(c["hidden_size"]), Norm(c["hidden_size"])
        self.self_attn, self.mlp = Attention(c), Mlp(c)

    def forward(self, x, cos, sin):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Inner(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embed_tokens = nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.layers = nn.ModuleList(Layer(c) for _ in range(c["num_hidden_layers"]))
        self.norm = Norm(c["hidden_size"])


class Sprout(nn.Module):
    def __init__(self, c=CONFIG):
        super().__init__()
        self.model = Inner(c)
        half = c["head_dim"] // 2
        frequency = c["rope_theta"] ** (-torch.arange(half) / half)
        angle = torch.arange(c["max_position_embeddings"])[:, None] * frequency
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                scale = (2 * c["num_hidden_layers"]) ** -0.5 if name.endswith(("o_proj.weight", "down_proj.weight")) else 1.0
                width = c["hidden_size"] if "embed" not in name else 2500
                nn.init.normal_(parameter, std=scale * width ** -0.5)

    def forward(self, inputs, targets):
        """The mean loss over the learned targets. Only their positions meet the vocabulary."""
        x = self.model.embed_tokens(inputs)
        x = x.to(torch.bfloat16)
        length = inputs.shape[1]
        cos, sin = self.cos[:length].to(x.dtype), self.sin[:length].to(x.dtype)
        for layer in self.model.layers:
            x = layer(x, cos, sin)
        learned = targets >= 0
        x = self.model.norm(x)[learned]
        return cross_entropy(linear(x, self.model.embed_tokens.weight).float(), targets[learned])
