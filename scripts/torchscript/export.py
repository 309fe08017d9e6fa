"""Writes a Hugging Face directory of the Llama family as a TorchScript module for the tch engine.

The module takes token ids, positions and the keys and values of what came before, and gives logits,
hidden states and the new keys and values. It is compared with transformers before it is kept. It never
asks a hub.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import List, Tuple

import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional

FAMILIES = {"llama", "qwen2", "qwen3", "mistral"}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# What an engine needs beside the module: tokens, template, ends of turns.
BESIDE = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
]
# The largest difference between the module's logits and those of transformers, against the largest logit.
TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2}


class Norm(nn.Module):
    """The root mean square norm, computed in float32."""

    def __init__(self, weight: Tensor, epsilon: float):
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
        self.epsilon = epsilon

    def forward(self, states: Tensor) -> Tensor:
        wide = states.to(torch.float32)
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.epsilon)
        return self.weight * wide.to(states.dtype)


class Linear(nn.Module):
    """Projections whose rows together are one matrix."""

    def __init__(self, parts: List[nn.Linear]):
        super().__init__()
        # One alone is not copied: a head may share its matrix with the embeddings.
        weights = [part.weight.detach() for part in parts]
        weight = weights[0] if len(weights) == 1 else torch.cat(weights)
        biases = [part.bias.detach() for part in parts if part.bias is not None]
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = nn.Parameter(torch.cat(biases), requires_grad=False) if biases else None

    def forward(self, states: Tensor) -> Tensor:
        return functional.linear(states, self.weight, self.bias)


class Layer(nn.Module):
    """Attention over what came before and what is new, then the gated MLP."""

    def __init__(self, layer: nn.Module, heads: int, key_heads: int, dimension: int):
        super().__init__()
        attention, mlp = layer.self_attn, layer.mlp
        self.heads, self.key_heads, self.dimension = heads, key_heads, dimension
        epsilon = layer.input_layernorm.variance_epsilon
        self.before_attention = Norm(layer.input_layernorm.weight, epsilon)
        self.before_mlp = Norm(layer.post_attention_layernorm.weight, epsilon)
        self.project = Linear([attention.q_proj, attention.k_proj, attention.v_proj])
        self.output = Linear([attention.o_proj])
        self.gate_up = Linear([mlp.gate_proj, mlp.up_proj])
        self.down = Linear([mlp.down_proj])
        normed = hasattr(attention, "q_norm")
        self.query_norm = Norm(attention.q_norm.weight, epsilon) if normed else nn.Identity()
        self.key_norm = Norm(attention.k_norm.weight, epsilon) if normed else nn.Identity()

    def forward(
        self, states: Tensor, turn: Tuple[Tensor, Tensor], mask: Tensor, past: Tuple[Tensor, Tensor]
    ) -> Tuple[Tensor, Tensor, Tensor]:
        batch, rows = states.size(0), states.size(1)
        projected = self.project(self.before_attention(states))
        projected = projected.view(batch, rows, self.heads + 2 * self.key_heads, self.dimension)
        queries, keys, values = projected.split([self.heads, self.key_heads, self.key_heads], dim=2)
        queries = rotate(self.query_norm(queries), turn[0], turn[1]).transpose(1, 2)
        keys = rotate(self.key_norm(keys), turn[0], turn[1]).transpose(1, 2)
        values = values.transpose(1, 2)
        group = self.heads // self.key_heads
        all_keys = torch.cat([past[0], keys], dim=2).repeat_interleave(group, dim=1)
        all_values = torch.cat([past[1], values], dim=2).repeat_interleave(group, dim=1)
        found = functional.scaled_dot_product_attention(queries, all_keys, all_values, attn_mask=mask)
        found = found.transpose(1, 2).reshape(batch, rows, self.heads * self.dimension)
        states = states + self.output(found)
        gate, up = self.gate_up(self.before_mlp(states)).chunk(2, dim=-1)
        return states + self.down(functional.silu(gate) * up), keys, values


def rotate(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates every head by the angles of its position; value i and value i + half are a pair."""
    first, second = heads.chunk(2, dim=-1)
    return heads * cos + torch.cat([-second, first], dim=-1) * sin


class Decoder(nn.Module):
    """The module of version 1: `forward`, `last` and `describe`.

    Shapes: `input_ids` and `positions` are batch × rows; `past_keys` and `past_values` are layers × batch ×
    key heads × past × dimension, and so are the new ones, with rows instead of past.
    """

    def __init__(self, model: nn.Module, description: str):
        super().__init__()
        config, inner = model.config, model.model
        heads, key_heads = config.num_attention_heads, config.num_key_value_heads
        dimension = head_dimension(config)
        self.description = description
        self.embeddings = nn.Parameter(inner.embed_tokens.weight.detach(), requires_grad=False)
        self.layers = nn.ModuleList(Layer(layer, heads, key_heads, dimension) for layer in inner.layers)
        self.norm = Norm(inner.norm.weight, inner.norm.variance_epsilon)
        self.head = Linear([model.lm_head])
        self.register_buffer("frequencies", inner.rotary_emb.inv_freq.detach().to(torch.float32).clone())
        self.magnitude = float(inner.rotary_emb.attention_scaling)

    def states(
        self, input_ids: Tensor, positions: Tensor, past_keys: Tensor, past_values: Tensor
    ) -> Tuple[Tensor, Tensor, Tensor]:
        states = functional.embedding(input_ids, self.embeddings)
        angles = positions.unsqueeze(-1).to(torch.float32) * self.frequencies
        angles = torch.cat([angles, angles], dim=-1).unsqueeze(2)
        cos = (angles.cos() * self.magnitude).to(states.dtype)
        sin = (angles.sin() * self.magnitude).to(states.dtype)
        seen = torch.arange(past_keys.size(3) + input_ids.size(1), device=input_ids.device)
        mask = (seen <= positions.unsqueeze(-1)).unsqueeze(1)
        keys, values = torch.jit.annotate(List[Tensor], []), torch.jit.annotate(List[Tensor], [])
        for index, layer in enumerate(self.layers):
            past = (past_keys[index], past_values[index])
            states, new_keys, new_values = layer(states, (cos, sin), mask, past)
            keys.append(new_keys)
            values.append(new_values)
        return states, torch.stack(keys), torch.stack(values)

    def forward(
        self, input_ids: Tensor, positions: Tensor, past_keys: Tensor, past_values: Tensor
    ) -> Tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits and final-norm hidden states after every row."""
        states, keys, values = self.states(input_ids, positions, past_keys, past_values)
        hidden = self.norm(states)
        return self.head(hidden), hidden, keys, values

    @torch.jit.export
    def last(
        self, input_ids: Tensor, positions: Tensor, past_keys: Tensor, past_values: Tensor
    ) -> Tuple[Tensor, Tensor, Tensor, Tensor]:
        """As `forward`, with the logits and hidden states after the last row only."""
        states, keys, values = self.states(input_ids, positions, past_keys, past_values)
        hidden = self.norm(states[:, -1:])
        return self.head(hidden), hidden, keys, values

    @torch.jit.export
    def describe(self) -> str:
        """What an engine must know to call the rest, as JSON."""
        return self.description


def head_dimension(config) -> int:
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def refuse_what_is_not_written(config) -> None:
    """Ends with a sentence if the module would not compute what the model does."""
    if config.model_type not in FAMILIES:
        sys.exit(f"`{config.model_type}` is none of {', '.join(sorted(FAMILIES))}")
    if config.hidden_act != "silu":
        sys.exit(f"the activation `{config.hidden_act}` is not silu")
    if any(kind != "full_attention" for kind in getattr(config, "layer_types", None) or []):
        sys.exit("layers with a sliding window are not written")
    window = getattr(config, "sliding_window", None)
    if config.model_type == "mistral" and window and window < config.max_position_embeddings:
        sys.exit("layers with a sliding window are not written")


def description(model: nn.Module, dtype: str) -> str:
    config = model.config
    return json.dumps(
        {
            "format": 1,
            "dtype": dtype,
            "vocabulary": config.vocab_size,
            "hidden": config.hidden_size,
            "layers": config.num_hidden_layers,
            "key_heads": config.num_key_value_heads,
            "head_dimension": head_dimension(config),
            "context_length": config.max_position_embeddings,
            # Tied weights are one parameter of the model, so they count once.
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
        }
    )


@torch.no_grad()
def difference(model: nn.Module, module: torch.jit.ScriptModule) -> float:
    """The largest difference to transformers over a prompt in two chunks and a token, against the largest logit."""
    config = model.config
    rows = min(48, config.max_position_embeddings)
    ids = torch.randint(config.vocab_size, (1, rows), generator=torch.Generator().manual_seed(1))
    wanted = model(ids).logits.to(torch.float32)
    shape = (config.num_hidden_layers, 1, config.num_key_value_heads, 0, head_dimension(config))
    keys = values = torch.zeros(shape, dtype=model.dtype)
    found, done = [], 0
    for end in (rows // 2, rows - 1, rows):
        positions = torch.arange(done, end).unsqueeze(0)
        logits, _, new_keys, new_values = module(ids[:, done:end], positions, keys, values)
        keys, values = torch.cat([keys, new_keys], dim=3), torch.cat([values, new_values], dim=3)
        found.append(logits.to(torch.float32))
        done = end
    return ((torch.cat(found, dim=1) - wanted).abs().max() / wanted.abs().max()).item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="a Hugging Face directory")
    parser.add_argument("out", type=Path, help="a directory to make; its name is the model's id")
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="float32")
    args = parser.parse_args()
    if not args.model.is_dir():
        sys.exit(f"{args.model} is no directory")
    refuse_what_is_not_written(transformers.AutoConfig.from_pretrained(args.model))
    model = transformers.AutoModelForCausalLM.from_pretrained(
        args.model, dtype=DTYPES[args.dtype], attn_implementation="sdpa"
    ).eval()
    module = torch.jit.script(Decoder(model, description(model, args.dtype)).eval())
    error = difference(model, module)
    # Not-a-number is not below the tolerance either.
    if not error < TOLERANCE[args.dtype]:
        sys.exit(f"the module differs from transformers by {error:.2e} of the largest logit; nothing is written")
    args.out.mkdir(parents=True, exist_ok=True)
    module.save(str(args.out / "model.pt"))
    for name in BESIDE:
        if (args.model / name).exists():
            shutil.copyfile(args.model / name, args.out / name)
    print(f"{args.out / 'model.pt'}: differs from transformers by {error:.1e} of the largest logit")


if __name__ == "__main__":
    main()
