"""Writes a small Llama model of Hugging Face files as GGUF, with half-precision weights.

Usage: gguf_of.py MODEL_DIRECTORY FILE
"""

import json
import sys
from pathlib import Path

import gguf
import numpy

LAYER = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
OUTER = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}


def tensors(path):
    """Name and float32 values of every tensor of a bfloat16 safetensors file."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    head, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    for name, entry in head.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            bits = numpy.frombuffer(data[begin:end], dtype="<u2").astype(numpy.uint32) << 16
            yield name, bits.view(numpy.float32).reshape(entry["shape"])


def interleave(weights, heads):
    """llama.cpp rotates neighbours, Hugging Face halves."""
    rows = weights.shape[0] // heads
    return weights.reshape(heads, 2, rows // 2, -1).swapaxes(1, 2).reshape(weights.shape)


def describe(writer, config):
    writer.add_name("sprout")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])


def describe_tokens(writer, config, tokenizer, template):
    special = {token["id"]: token["content"] for token in tokenizer["added_tokens"]}
    words = {number: word for word, number in tokenizer["model"]["vocab"].items()}
    count = range(config["vocab_size"])
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_tokenizer_model("gpt2")
    # The one kind that takes whole words from the vocabulary, as this tokenizer does.
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list([special.get(number) or words.get(number, f"<unused {number}>") for number in count])
    writer.add_token_types([control if number in special else normal for number in count])
    # llama.cpp insists on merges; the tokenizer has none, and these two bytes never meet.
    writer.add_token_merges([" ".join(merge) for merge in tokenizer["model"]["merges"]] or ["Ā ā"])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token(False)
    writer.add_chat_template(template)


def main(model, file):
    read = lambda name: json.loads((model / name).read_text())
    config = read("config.json")
    writer = gguf.GGUFWriter(file, "llama")
    describe(writer, config)
    describe_tokens(writer, config, read("tokenizer.json"), read("tokenizer_config.json")["chat_template"])
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    for name, weights in tensors(model / "model.safetensors"):
        for projection, count in heads.items():
            if projection in name:
                weights = interleave(weights, count)
        if name in OUTER:
            name = OUTER[name]
        else:
            _, _, layer, part = name.split(".", 3)
            name = f"blk.{layer}.{LAYER[part.removesuffix('.weight')]}.weight"
        # Norms stay in single precision, as llama.cpp wants them.
        writer.add_tensor(name, numpy.ascontiguousarray(weights, numpy.float32 if weights.ndim == 1 else numpy.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
