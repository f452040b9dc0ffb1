#!/usr/bin/env python3
"""Checks that evaluation rounds keep to their budget.

    cargo build --release
    scripts/bench/probe_budget.py [--budget 0.05] [--every 20] [--items 300] [--program PATH]

Trains the quickstart's model with fifty due rounds, and prints the number of items and the duration of
each. The fraction of time is measured in two ways: from the events of the run, and as the wall time without
steps, validation and checkpoints. The script fails if the first differs from the budget by more than a
quarter of the budget.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path

ROUNDS = 50


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--budget", type=float, default=0.05)
    parser.add_argument("--every", type=int, default=20, help="steps between two due rounds")
    parser.add_argument("--items", type=int, default=300, help="maximum number of items per task")
    parser.add_argument("--program", default="target/release/fineline")
    arguments = parser.parse_args()
    steps = ROUNDS * arguments.every
    table = f'suite="tinyworld", every_steps={arguments.every}, log_spaced=false'
    probes = f"probes=[{{{table}, limit={arguments.items}, budget={arguments.budget}}}]"
    with tempfile.TemporaryDirectory() as directory:
        run = Path(directory) / "run"
        settings = [
            f"run.dir={run}",
            f"train.steps={steps}",
            f"checkpoint.every_steps={steps}",
            "validation.every_steps=0",
            probes,
        ]
        command = [
            arguments.program,
            "train",
            "configs/quickstart.toml",
            *(word for setting in settings for word in ("--set", setting)),
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        events, metrics = read(run / "events.jsonl"), read(run / "metrics.jsonl")
    rounds = [event for event in events if event["event"] == "evaluation_finished"]
    skipped = [event for event in events if event["event"] == "evaluation_skipped"]
    when = lambda event: datetime.fromisoformat(event["time"].replace("Z", "+00:00"))
    # The event of the last round is the last one except for that of the last checkpoint.
    wall = (when(rounds[-1]) - when(events[0])).total_seconds()
    fraction = sum(event["seconds"] for event in rounds) / wall
    other = 1 - sum(step["step_s"] for step in metrics) / wall
    for event in rounds:
        items = "all" if event["limit"] is None else event["limit"]
        cost = f"{event['seconds']:7.3f} s, {event['budget_used']:.4f} of the time so far"
        print(f"step {event['step']:6}: {items:>5} items per task, {cost}")
    print(f"{len(rounds)} rounds, {len(skipped)} skipped, in {wall:.1f} s")
    print(f"fraction {fraction:.4f} (budget {arguments.budget}); {other:.4f} of the time outside of steps")
    return abs(fraction / arguments.budget - 1) > 0.25


if __name__ == "__main__":
    sys.exit(main())
