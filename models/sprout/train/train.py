"""Trains Sprout from nothing (or from a checkpoint of itself). It never sees a held-out example.

    python train.py --out DIR --steps 6000

The learning rate warms up, stays, and falls linearly to zero over the last part. A run may be resumed
from DIR/checkpoint.pt with other --steps: the steady part does not depend on the length of the run.
"""

import argparse
import pathlib
import random
import time

import torch
from tokenizers import Tokenizer

import tokenizer as tokenizer_files
from data import Encoder, Rows, draw_training
from model import CONFIG, Sprout
from tables import SYSTEM_PROMPTS, WORDS

TOKENIZER_SAMPLES = 80_000


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--stop", type=int, help="end here, though the rate falls as if the run went on to --steps")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=4096, help="tokens per step")
    parser.add_argument("--warmup", type=int, default=60)
    parser.add_argument("--decay", type=float, default=0.35, help="the share of steps over which the rate falls to zero")
    parser.add_argument("--matrix-rate", type=float, default=0.02, help="Muon's rate, for the layers' matrices")
    parser.add_argument("--vector-rate", type=float, default=3e-3, help="AdamW's rate, for embeddings and norms")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--part", choices=["early", "late"], default="early", help="which mix of skills is drawn")
    parser.add_argument("--resume", type=pathlib.Path)
    parser.add_argument("--no-compile", action="store_true")
    return parser.parse_args()


def build_tokenizer(seed):
    rng, texts = random.Random(seed), SYSTEM_PROMPTS * 100
    for _ in range(TOKENIZER_SAMPLES):
        example, prompt = draw_training(rng)
        texts.append("\n".join([prompt, example.answer, *(text for _, text in example.before)]))
    return tokenizer_files.build(texts, WORDS, CONFIG["vocab_size"])


def optimizers(model, args):
    """Muon moves the layers' matrices; AdamW moves the rest."""
    matrices = [p for name, p in model.named_parameters() if p.dim() == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.dim() != 2 or "embed" in name]
    muon = torch.optim.Muon(matrices, lr=args.matrix_rate, momentum=0.95, weight_decay=0.01)
    adam = torch.optim.AdamW(others, lr=args.vector_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    return [(muon, args.matrix_rate), (adam, args.vector_rate)]


def rate_share(step, args):
    decay_steps = max(1, int(args.steps * args.decay))
    return min(1.0, (step + 1) / args.warmup, (args.steps - step) / decay_steps)


def save(path, model, opts, step):
    state = {"model": model.state_dict(), "optimizers": [o.state_dict() for o, _ in opts], "step": step}
    torch.save(state, path.with_suffix(".part"))
    path.with_suffix(".part").rename(path)


def main():
    args = arguments()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.resume:
        # The tokenizer belongs to the weights: a later change of the skills must not change it.
        tokenizer = Tokenizer.from_file(str(args.resume.parent / "tokenizer.json"))
    else:
        tokenizer = build_tokenizer(args.seed)
    tokenizer_files.save(tokenizer, args.out, CONFIG["max_position_embeddings"])
    encoder, model = Encoder(tokenizer), Sprout()
    opts, first = optimizers(model, args), 0
    if args.resume:
        state = torch.load(args.resume)
        model.load_state_dict(state["model"])
        for (optimizer, _), saved in zip(opts, state["optimizers"]):
            optimizer.load_state_dict(saved)
        first = state["step"]
    loss_of = model if args.no_compile else torch.compile(model)
    start, mean, last = time.time(), None, args.stop or args.steps
    for step in range(first, last):
        # Every eighth step trains on rows of the whole context; the others on rows that are cheaper.
        length = CONFIG["max_position_embeddings"] if step % 8 == 7 else 256
        inputs, targets = Rows(encoder, f"{args.seed}/{step}", args.part).batch(args.tokens // length, length)
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(torch.from_numpy(inputs), torch.from_numpy(targets))
        loss.backward()
        for optimizer, rate in opts:
            for group in optimizer.param_groups:
                group["lr"] = rate * rate_share(step, args)
            optimizer.step()
        model.zero_grad()
        mean = loss.item() if mean is None else 0.98 * mean + 0.02 * loss.item()
        if (step + 1) % 50 == 0:
            print(f"step {step + 1} loss {mean:.4f} seconds {time.time() - start:.0f}", flush=True)
        if (step + 1) % 100 == 0 or step + 1 == last:
            save(args.out / "checkpoint.pt", model, opts, step + 1)


if __name__ == "__main__":
    main()
