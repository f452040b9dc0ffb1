#!/usr/bin/env python3
"""Compares the scores of the `core` suite with a direct computation with transformers, item by item.

    scripts/fetch-core-data.sh DATA
    cargo build --release
    python scripts/parity/core_parity.py CHECKPOINT --data DATA --limit 50 --out /tmp/core-parity

The computation does, one prompt at a time, what nanochat does for DCLM's CORE: solved examples drawn by
Python's `random` with seed 1234 plus the item's number; whole prompts as tokens after BOS; for several
choices, the lowest mean loss from where the prompts diverge (or, for contexts, over their common end); for
one continuation, whether each token is the most likely one. For every item, it compares the number of
scored tokens, their summed log-probability, and whether the item counts as right. Tasks without data are
listed and skipped. Prints a table. The exit code is 1 if anything differs.
"""

import argparse
import json
import os
import pathlib
import random
import subprocess
import sys
import tomllib

import pandas
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
TOLERANCE = 1e-4


class Task:
    def __init__(self, path, data):
        fields = tomllib.loads(path.read_text())
        self.name, self.kind, self.shots = fields["name"], fields["kind"], fields.get("shots", 0)
        self.path = data / fields["data"]
        self.suffix = "\nAnswer:" if fields.get("context", "").endswith("\nAnswer:") else ""

    def read(self):
        self.records = [json.loads(line) for line in self.path.read_text().splitlines() if line]

    def parts(self, record):
        """Returns the texts before the answer and those after it. One of the two has several, if there is a
        choice.
        """
        if "context_options" in record:
            return record["context_options"], [record["continuation"]]
        if "choices" in record:
            return [record["query"] + self.suffix], record["choices"]
        return [record["context"].strip() + self.suffix], [record["continuation"]]

    def solved(self, record):
        contexts, answers = self.parts(record)
        gold = record.get("gold", 0)
        return f"{contexts[gold if len(contexts) > 1 else 0]} {answers[gold if len(answers) > 1 else 0]}\n\n"

    def examples(self, number):
        others = [i for i in range(len(self.records)) if i != number]
        drawn = random.Random(1234 + number).sample(others, self.shots) if self.shots else []
        return "".join(self.solved(self.records[i]) for i in drawn)


def alike(prompts, direction):
    count = 0
    while (
        count < min(map(len, prompts))
        and len({prompt[count if direction > 0 else -1 - count] for prompt in prompts}) == 1
    ):
        count += 1
    return count


@torch.no_grad()
def log_probabilities(model, ids, start, longest):
    """Returns the log-probability of the tokens from `start`, and whether each is the most likely one."""
    cut = max(0, len(ids) - longest - 1)
    ids, start = ids[cut:], start - cut
    logits = model(torch.tensor([ids[:-1]])).logits[0].float()
    scored = torch.tensor(ids[start:])
    chosen = torch.log_softmax(logits[start - 1 :], -1).double()
    return chosen.gather(1, scored[:, None])[:, 0], bool((chosen.argmax(-1) == scored).all())


def reference(task, number, model, encode, longest):
    record = task.records[number]
    contexts, answers = task.parts(record)
    examples = task.examples(number)
    prompts = [encode(f"{examples}{context} {answer}") for context in contexts for answer in answers]
    if len(prompts) == 1:
        starts = [len(encode((examples + contexts[0]).strip()))]
    elif len(contexts) > 1:
        starts = [len(prompt) - alike(prompts, -1) for prompt in prompts]
    else:
        starts = [min(alike(prompts, 1), len(prompt) - 1) for prompt in prompts]
    scores = [log_probabilities(model, prompt, start, longest) for prompt, start in zip(prompts, starts)]
    losses = [-logprobs.mean().item() for logprobs, _ in scores]
    right = scores[0][1] if len(prompts) == 1 else losses.index(min(losses)) == record["gold"]
    return right, [(len(logprobs), logprobs.sum().item()) for logprobs, _ in scores]


def compare(task, rows, metrics, model, encode, longest):
    problems, distance, right = [], 0.0, 0
    items = rows.groupby("item")
    for number, group in items:
        is_right, scores = reference(task, int(number), model, encode, longest)
        right += is_right
        for row, (tokens, logprob) in zip(group.itertuples(), scores, strict=True):
            place = f"{task.name} item {number} choice {row.choice}"
            if row.n_tokens != tokens:
                problems.append(f"{place}: {row.n_tokens} tokens, expected {tokens}")
            apart = abs(row.logprob - logprob)
            distance = max(distance, apart)
            if apart > max(TOLERANCE, 1e-6 * abs(logprob)):
                problems.append(f"{place}: log-probability {row.logprob}, expected {logprob}")
    accuracy = metrics["acc,none"]
    if abs(accuracy - right / len(items)) > 1e-9:
        problems.append(f"{task.name}: acc {accuracy}, expected {right / len(items)}")
    verdict = "DIFFERS" if problems else "equal"
    both = f"{accuracy:.4g} / {right / len(items):.4g}"
    print(f"| {task.name} | {task.shots} | {len(items)} | {distance:.1e} | {both} | {verdict} |")
    return problems


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--limit", type=int, default=50)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("/tmp/core-parity"))
    args = parser.parse_args()

    suite = tomllib.loads((ROOT / "configs/probes/core.toml").read_text())
    tasks = [Task(ROOT / "configs/probes" / path, args.data) for path in suite["tasks"]]
    absent = [task.name for task in tasks if not task.path.exists() or task.path.stat().st_size == 0]
    if absent:
        print(f"skipped, because their data is missing: {', '.join(absent)}", file=sys.stderr)
    tasks = [task for task in tasks if task.name not in absent]
    args.out.mkdir(parents=True, exist_ok=True)
    part = args.out / "part.toml"
    part.write_text(
        "tasks = " + json.dumps([str(ROOT / "configs/probes/tasks" / f"{task.name}.toml") for task in tasks])
    )
    command = [
        TARGET / "release/fineline",
        "probe",
        args.checkpoint,
        "--suite",
        part,
        "--data-dir",
        args.data,
        "--out",
        args.out,
        "--limit",
        str(args.limit),
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    results = json.loads((args.out / "results.json").read_text())["results"]
    rows = pandas.read_parquet(args.out / "items.parquet")

    model = AutoModelForCausalLM.from_pretrained(args.checkpoint, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(args.checkpoint)
    bos = model.config.bos_token_id
    encode = lambda text: [bos] + tokenizer.encode(text, add_special_tokens=False)
    differences = "largest difference of log-probabilities | acc, fineline / transformers"
    print(f"| task | examples | items | {differences} | |\n|---|---|---|---|---|---|")
    problems = []
    for task in tasks:
        task.read()
        of_task = rows[rows.task == task.name]
        problems += compare(
            task, of_task, results[task.name], model, encode, model.config.max_position_embeddings
        )
    for problem in problems[:50]:
        print(problem, file=sys.stderr)
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
