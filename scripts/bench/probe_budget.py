#!/usr/bin/env python3
"""Does probing keep to its budget? Trains the quickstart's model with a due round of probes fifty times, and prints what rounds asked and took.

    cargo build --release
    scripts/bench/probe_budget.py [--budget 0.05] [--every 20] [--items 300] [--program target/release/fineline]

The share is measured in two ways: from the events of the run, and as what the wall time has besides steps, validation and checkpoints. It fails if the first is off by
more than a quarter of the budget.
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=0.05)
    parser.add_argument("--every", type=int, default=20, help="steps between two due rounds")
    parser.add_argument("--items", type=int, default=300, help="items per task at most")
    parser.add_argument("--program", default="target/release/fineline")
    arguments = parser.parse_args()
    steps = ROUNDS * arguments.every
    probes = f'probes=[{{suite="tinyworld", every_steps={arguments.every}, log_spaced=false, limit={arguments.items}, budget={arguments.budget}}}]'
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        settings = [f"run.dir={run}", f"train.steps={steps}", f"checkpoint.every_steps={steps}", "validation.every_steps=0", probes]
        command = [arguments.program, "train", "configs/quickstart.toml", *(word for setting in settings for word in ("--set", setting))]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        events, metrics = read(run / "events.jsonl"), read(run / "metrics.jsonl")
    rounds = [event for event in events if event["event"] == "probe_round"]
    left_out = [event for event in events if event["event"] == "probes_skipped"]
    when = lambda event: datetime.fromisoformat(event["time"].replace("Z", "+00:00"))
    # The last round's event is the last thing that happens but the last checkpoint.
    wall = (when(rounds[-1]) - when(events[0])).total_seconds()
    share = sum(event["seconds"] for event in rounds) / wall
    besides = 1 - sum(step["step_s"] for step in metrics) / wall
    for event in rounds:
        items = "all" if event["items"] is None else event["items"]
        print(f"step {event['step']:6}: {items:>5} items a task, {event['seconds']:7.3f} s, {event['spent_share']:.4f} of the time so far")
    print(f"{len(rounds)} rounds, {len(left_out)} left out, in {wall:.1f} s: a share of {share:.4f} (budget {arguments.budget}); {besides:.4f} of the time was no step")
    return abs(share / arguments.budget - 1) > 0.25


if __name__ == "__main__":
    sys.exit(main())
