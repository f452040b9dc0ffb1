#!/usr/bin/env python3
"""Compares the in-context tasks of a checkpoint with transformers, answer by answer, and computes their
metrics again from the item store.

    cargo build --release --workspace --bins --example request_tokens
    python scripts/parity/in_context_parity.py CHECKPOINT --limit 8

CHECKPOINT is a Hugging Face LLaMA with a `tokenizer.json`. Every answer is scored separately: the tokens
before it and its own pass through the model as one sequence, in float32. Needs a Python with torch,
transformers, pandas and pyarrow. The exit code is 1 if a log-probability differs by more than 1e-4, or if
the most likely answer or a metric differs.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import pandas as pd
import torch
from transformers import LlamaForCausalLM

TOLERANCE = 1e-4


def ours(
    binaries: Path, checkpoint: Path, limit: int, out: Path
) -> tuple[pd.DataFrame, list[dict], list[dict]]:
    """Returns item rows, requests as token ids, and the records of the probe log."""
    command = [
        binaries / "fineline",
        "probe",
        checkpoint,
        "--suite",
        "in_context",
        "--limit",
        str(limit),
        "--out",
        out,
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    command = [binaries / "examples/request_tokens", checkpoint, "in_context", ".", str(limit)]
    asked = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    records = [json.loads(line) for line in (out / "probes.jsonl").read_text().splitlines()]
    return pd.read_parquet(out / "items.parquet"), [json.loads(line) for line in asked.splitlines()], records


def theirs(model: LlamaForCausalLM, before: list[int], answer: list[int]) -> tuple[float, bool]:
    """Returns the sum of the answer's log-probabilities, and whether each token is the most likely one."""
    ids = torch.tensor([before + answer])
    with torch.no_grad():
        logprobs = torch.log_softmax(
            model(input_ids=ids[:, :-1]).logits[0, len(before) - 1 :].double(), dim=-1
        )
    targets = torch.tensor(answer)
    logprob = logprobs.gather(1, targets[:, None]).sum().item()
    return logprob, bool((logprobs.argmax(dim=-1) == targets).all())


def metric_distance(rows: pd.DataFrame, record: dict) -> float:
    """Returns the largest difference between the metrics in the log and those of the rows."""
    nats = -rows.pivot(index="item", columns="choice", values="logprob")
    optimal = -rows.pivot(index="item", columns="choice", values="optimal_logprob")
    right = rows.pivot(index="item", columns="choice", values="greedy")
    late = nats.iloc[:, -math.ceil(nats.shape[1] / 4) :].mean(axis=1)
    expected = {"acc": right.iloc[:, -1], "icl_gain": nats[0] - late, "late_nats": late}
    for examples in nats.columns:
        expected[f"nats_at_{examples}"] = nats[examples]
        expected[f"excess_nats_at_{examples}"] = nats[examples] - optimal[examples]
        expected[f"acc_at_{examples}"] = right[examples]
    distances = []
    for name, estimate in record["metrics"].items():
        values = expected[name].astype(float)
        distances += [abs(values.mean() - estimate["value"]), abs(values.sem() - estimate["stderr"])]
    return max(distances)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    arguments.add_argument("checkpoint", type=Path)
    arguments.add_argument("--limit", type=int, default=8, help="items per task")
    arguments.add_argument("--binaries", type=Path, default=Path("target/release"))
    options = arguments.parse_args()
    model = LlamaForCausalLM.from_pretrained(options.checkpoint, attn_implementation="eager").float().eval()
    with tempfile.TemporaryDirectory() as directory:
        rows, asked, records = ours(options.binaries, options.checkpoint, options.limit, Path(directory))
    rows = rows.set_index(["task", "item", "choice"], drop=False)
    is_equal = True
    print("| task | answers | largest difference of log-probabilities | of metrics and errors |")
    print("|---|---|---|---|")
    for record in records:
        task = record["task"]
        distance = 0.0
        answers = [answer for answer in asked if answer["task"] == task]
        for answer in answers:
            row = rows.loc[(task, answer["item"], answer["choice"])]
            logprob, greedy = theirs(model, answer["context_ids"], answer["continuation_ids"])
            distance = max(distance, abs(row["logprob"] - logprob))
            is_equal &= greedy == row["greedy"]
        of_metrics = metric_distance(rows[rows["task"] == task].reset_index(drop=True), record)
        is_equal &= distance <= TOLERANCE and of_metrics <= 1e-9
        print(f"| {task} | {len(answers)} | {distance:.1e} | {of_metrics:.1e} |")
    print("equal" if is_equal else "not equal")
    return 0 if is_equal else 1


if __name__ == "__main__":
    sys.exit(main())
