"""Llama models of random weights as GGUF files, each in one format. They answer nothing sensible."""

import ctypes
import json
import sys
from pathlib import Path

import gguf
import numpy

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "engine"))
from gguf_of import describe, describe_tokens  # noqa: E402

SPROUT = HERE.parent.parent / "models/sprout"
# 152 million parameters; widths that are multiples of 256, as blocks of Q4_K need.
LARGE = {
    "vocab_size": 16384,
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "num_hidden_layers": 12,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "head_dim": 64,
    "max_position_embeddings": 2048,
}
SMALL = {**LARGE, "vocab_size": 1024, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4}
TYPES = gguf.GGMLQuantizationType


def shapes(config):
    """The tensors by name in GGUF: rows and columns, or one dimension."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    queries = config["num_attention_heads"] * config["head_dim"]
    keys = config["num_key_value_heads"] * config["head_dim"]
    yield "token_embd.weight", (config["vocab_size"], hidden)
    yield "output_norm.weight", (hidden,)
    for layer in range(config["num_hidden_layers"]):
        parts = {
            "attn_norm": (hidden,),
            "attn_q": (queries, hidden),
            "attn_k": (keys, hidden),
            "attn_v": (keys, hidden),
            "attn_output": (hidden, queries),
            "ffn_norm": (hidden,),
            "ffn_gate": (inner, hidden),
            "ffn_up": (inner, hidden),
            "ffn_down": (hidden, inner),
        }
        for part, shape in parts.items():
            yield f"blk.{layer}.{part}.weight", shape


def quantised(library, kind, weights):
    """The rows in blocks, by llama.cpp's own quantiser."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    rows, width = weights.shape
    result = numpy.zeros((rows, width // block * size), numpy.uint8)
    quantise = library.ggml_quantize_chunk
    quantise.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p] + [ctypes.c_int64] * 3 + [ctypes.c_void_p]
    quantise.restype = ctypes.c_size_t
    written = quantise(int(kind), weights.ctypes.data, result.ctypes.data, 0, rows, width, None)
    assert written == result.nbytes, f"{written} of {result.nbytes} bytes"
    return result


def stored(library, kind, weights):
    if weights.ndim == 1 or kind == TYPES.F32:
        return weights, TYPES.F32
    if kind == TYPES.F16:
        return weights.astype(numpy.float16), kind
    if kind == TYPES.BF16:
        return gguf.quants.quantize(weights, kind), kind
    return quantised(library, kind, weights), kind


def write(file, form, sizes, library):
    """Writes the model unless it is there."""
    if file.exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    read = lambda name: json.loads((SPROUT / name).read_text())
    config = {**read("config.json"), **sizes}
    unfinished = file.with_suffix(".unfinished")
    writer = gguf.GGUFWriter(unfinished, "llama")
    describe(writer, config)
    describe_tokens(writer, config, read("tokenizer.json"), read("tokenizer_config.json")["chat_template"])
    random = numpy.random.default_rng(1)
    for name, shape in shapes(config):
        # As large as keeps the states of a deep model in bounds.
        weights = random.standard_normal(shape, numpy.float32) * numpy.float32(shape[-1] ** -0.5)
        weights = numpy.ones(shape, numpy.float32) if len(shape) == 1 else weights
        data, kind = stored(library, TYPES[form], weights)
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    unfinished.rename(file)
