#!/usr/bin/env python3
"""Trains a LLaMA in transformers and PyTorch for a few steps on random tokens, for comparison with `fineline
bench`.

A step does what fineline's does: forward, backward, clipping by the global norm, fused AdamW, and the loss
read back. Prints a JSON object with the keys of `fineline bench --json`. `train_vs_torch` runs this script;
by hand:

    python scripts/bench/torch_train.py --mode compile --shape 256,6,8,688,4096 --batch 8x256
"""

import argparse
import json
import resource
import statistics
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mode", choices=["eager", "compile"], default="eager")
    parser.add_argument("--shape", required=True, help="width,layers,heads,intermediate,vocabulary")
    parser.add_argument("--batch", required=True, help="sequences x tokens")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=8, help="measured steps, after two warm-up steps")
    parser.add_argument("--matmuls", action="store_true", help="also measure a large matmul")
    return parser.parse_args()


def matmul_rate() -> float:
    """Returns the highest FLOP/s of the library's own matmul of two 1536 x 1536 matrices."""
    size = 1536
    a, b = torch.randn(size, size), torch.randn(size, size)
    best = min(timed(lambda: a @ b) for _ in range(12))
    return 2 * size**3 / best


def timed(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    hidden, layers, heads, intermediate, vocab = (int(n) for n in args.shape.split(","))
    batch, length = (int(n) for n in args.batch.split("x"))
    rate = matmul_rate() if args.matmuls else None
    config = LlamaConfig(
        vocab_size=vocab,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        intermediate_size=intermediate,
        max_position_embeddings=length,
        tie_word_embeddings=False,
        attn_implementation="sdpa",
    )
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True
    )
    tokens = torch.randint(0, vocab, (batch, length + 1))
    inputs, targets = tokens[:, :-1].contiguous(), tokens[:, 1:].reshape(-1)

    def loss_of(inputs: torch.Tensor) -> torch.Tensor:
        logits = model(input_ids=inputs, use_cache=False).logits
        return torch.nn.functional.cross_entropy(logits.reshape(-1, vocab), targets)

    if args.mode == "compile":
        loss_of = torch.compile(loss_of)

    def step() -> None:
        loss = loss_of(inputs)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()

    seconds = [timed(step) for _ in range(2 + args.steps)][2:]
    median = statistics.median(seconds)
    report = {
        "tokens_per_s": batch * length / median,
        "step_s": median,
        "min_step_s": min(seconds),
        "max_step_s": max(seconds),
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "threads": torch.get_num_threads(),
        "product_flops_per_s": rate,
        "version": torch.__version__,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
