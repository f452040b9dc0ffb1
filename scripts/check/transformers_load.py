#!/usr/bin/env python3
"""Loads a fineline checkpoint with transformers, unchanged, and prints a JSON object about it.

    $FINELINE_REFERENCE_PYTHON scripts/check/transformers_load.py RUN/checkpoints/step-00000200 \\
        --prompt "The old mill" --max-new-tokens 20 --compare-logits FILE

FILE is a safetensors file with `input_ids` i64 [B, T] and fineline's `logits` f32 [B, T, V] for them. The
exit code is 1 if a tensor is missing, unexpected or of another shape. transformers alone would only print a
warning and initialize such weights randomly.
"""

import argparse
import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from transformers import AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerBase


def load(checkpoint: Path) -> tuple[LlamaForCausalLM, dict[str, list]]:
    """Returns the model in float32, and the tensor names that don't match, by kind of mismatch."""
    model, loading = LlamaForCausalLM.from_pretrained(
        checkpoint, torch_dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    misfits = {kind: [str(name) for name in names] for kind, names in loading.items() if names}
    return model.eval(), misfits


def score(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, text: str) -> dict[str, object]:
    """Returns the token ids of `text` (after BOS, if the tokenizer has one) and their mean loss in nats."""
    bos = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else []
    ids = torch.tensor([bos + tokenizer.encode(text, add_special_tokens=False)])
    logits = model(input_ids=ids).logits[0]
    return {"ids": ids[0].tolist(), "loss": F.cross_entropy(logits[:-1], ids[0, 1:]).item()}


def generate(model: LlamaForCausalLM, ids: list[int], max_new_tokens: int) -> list[int]:
    """Returns the greedy continuation of `ids`. (`model.generate` does not run on Debian's torch.)"""
    row = list(ids)
    for _ in range(max_new_tokens):
        row.append(int(model(input_ids=torch.tensor([row])).logits[0, -1].argmax()))
    return row[len(ids) :]


def compare_logits(model: LlamaForCausalLM, file: Path) -> dict[str, object]:
    """Returns the largest difference between the logits of a file and those of transformers for the same
    tokens.
    """
    tensors = load_file(file)
    distance = (model(input_ids=tensors["input_ids"]).logits - tensors["logits"]).abs()
    return {"max_logit_difference": distance.max().item(), "logits_compared": distance.numel()}


@torch.no_grad()
def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--compare-logits", type=Path, metavar="FILE")
    parser.add_argument("--prompt", help="text to score, and to continue with --max-new-tokens")
    parser.add_argument("--max-new-tokens", type=int, default=0, metavar="N")
    options = parser.parse_args()

    model, misfits = load(options.checkpoint)
    tokenizer = AutoTokenizer.from_pretrained(options.checkpoint)
    report: dict[str, object] = {
        "parameters": model.num_parameters(),
        "misfits": misfits,
        "tokenizer": {
            "class": type(tokenizer).__name__,
            "vocab_size": len(tokenizer),
            "bos_id": tokenizer.bos_token_id,
            "eos_id": tokenizer.eos_token_id,
        },
    }
    if options.compare_logits:
        report |= compare_logits(model, options.compare_logits)
    if options.prompt:
        report |= score(model, tokenizer, options.prompt)
        if options.max_new_tokens:
            report["generated_ids"] = generate(model, report["ids"], options.max_new_tokens)
            report["generated_text"] = tokenizer.decode(report["generated_ids"])
    print(json.dumps(report))
    return 1 if misfits else 0


if __name__ == "__main__":
    sys.exit(main())
