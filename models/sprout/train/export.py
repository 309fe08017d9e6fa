"""Writes a checkpoint as a Hugging Face model folder, bfloat16. It changes no value except by that rounding.

    python export.py --run DIR --to models/sprout
"""

import argparse
import json
import pathlib
import shutil

import torch
from safetensors.torch import save_file

from model import CONFIG

GENERATION = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "do_sample": False, "max_new_tokens": 128}
FILES = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", type=pathlib.Path, required=True)
    parser.add_argument("--to", type=pathlib.Path, required=True)
    args = parser.parse_args()
    args.to.mkdir(parents=True, exist_ok=True)
    state = torch.load(args.run / "checkpoint.pt")
    tensors = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in state["model"].items()}
    save_file(tensors, args.to / "model.safetensors", metadata={"format": "pt"})
    (args.to / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    (args.to / "generation_config.json").write_text(json.dumps(GENERATION, indent=2) + "\n")
    for name in FILES:
        shutil.copy(args.run / name, args.to / name)
    print("step", state["step"], "parameters", sum(tensor.numel() for tensor in tensors.values()))


if __name__ == "__main__":
    main()
