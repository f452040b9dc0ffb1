#!/usr/bin/env python3
"""Measures training on several ranks of this machine, and prints a JSON object.

    cargo build --release --features mpi
    scripts/bench/ranks.py --binary target/release/fineline [--rounds 5]

- time per step: 2 ranks with 1 thread compared with 1 rank with 2 threads, alternating; median of the ratios
- bytes on the network per step compared with 2 (N - 1) / N of the gradient's per rank: MPI uses TCP, and the
  loopback interface is counted (including acknowledgements and headers)
- seconds that a checkpoint blocks training, compared with a step
- seconds from `mpirun` to the first new step after a kill
- seconds of an evaluation round: 2 ranks with 1 thread compared with 1 rank with 1 thread, alternating;
  median of the ratios
- peak memory of a rank compared with `fineline plan`, without and with ZeRO-1

Needs Linux, Open MPI and Python. Nothing else should run at the same time.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The middle shape of docs/performance.md: 6.84 million parameters, 8 x 256 tokens.
MIDDLE = [
    "model.vocab_size=4096",
    "model.hidden_size=256",
    "model.intermediate_size=688",
    "model.num_hidden_layers=6",
    "model.num_attention_heads=8",
    "model.tie_word_embeddings=false",
    "tokenizer.train_vocab_size=2048",
    "data.seq_len=256",
    "train.global_batch_size=8",
    "train.micro_batch_size=4",
]
# 58 million parameters: the state of a rank is larger than its activations.
LARGE = [
    "model.vocab_size=32000",
    "model.hidden_size=512",
    "model.intermediate_size=1376",
    "model.num_hidden_layers=8",
    "model.num_attention_heads=8",
    "model.tie_word_embeddings=false",
    "tokenizer.train_vocab_size=2048",
    "data.seq_len=128",
    "train.global_batch_size=2",
    "train.micro_batch_size=1",
]


class Bench:
    def __init__(self, binary, place):
        self.binary = binary
        self.place = place

    def words(self, command, settings):
        words = [str(self.binary), command, str(ROOT / "configs/quickstart.toml")]
        for setting in [
            *settings,
            f"data.cache_dir={self.place}/cache",
            "probes=[]",
            "validation.every_steps=0",
            "model.max_position_embeddings=256",
        ]:
            words += ["--set", setting]
        return words

    def launch(self, ranks, words, *arguments):
        if ranks == 1:
            return words
        root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
        return [
            "mpirun",
            "--oversubscribe",
            "--bind-to",
            "none",
            *root,
            *arguments,
            "-np",
            str(ranks),
            *words,
        ]

    def json(self, words):
        return json.loads(
            subprocess.run(
                words, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.place
            ).stdout
        )

    def time(self, ranks, threads, settings, steps, *arguments):
        words = self.words("bench", [*settings, f"run.threads={threads}"]) + ["--steps", str(steps), "--json"]
        return self.json(self.launch(ranks, words, *arguments))

    def step_ratio(self, rounds):
        ratios, seconds = [], {"1x2": [], "2x1": []}
        for _ in range(rounds):
            one, two = self.time(1, 2, MIDDLE, 5), self.time(2, 1, MIDDLE, 5)
            seconds["1x2"].append(one["step_s"])
            seconds["2x1"].append(two["step_s"])
            ratios.append(two["step_s"] / one["step_s"])
        return {
            "ratio": statistics.median(ratios),
            **{name: statistics.median(values) for name, values in seconds.items()},
        }

    def wire(self, ranks):
        tcp = ["--mca", "btl", "tcp,self", "--mca", "pml", "ob1", "--mca", "btl_tcp_if_include", "lo"]
        counter = Path("/sys/class/net/lo/statistics/tx_bytes")
        sent = {}
        for steps in (2, 12):
            before = int(counter.read_text())
            measured = self.time(ranks, 1, [*MIDDLE, "train.micro_batch_size=1"], steps, *tcp)
            sent[steps] = int(counter.read_text()) - before
        per_step = (sent[12] - sent[2]) / 10
        ideal = 2 * (ranks - 1) * 4 * measured["parameters"]
        return {"ranks": ranks, "bytes_per_step": per_step, "ideal": ideal, "ratio": per_step / ideal}

    def train(self, directory, settings, ranks):
        return self.launch(ranks, self.words("train", [*settings, f"run.dir={self.place}/{directory}"]))

    def checkpoint_stop(self, rounds):
        settings = [
            *MIDDLE,
            "train.micro_batch_size=8",
            "train.steps=12",
            "schedule.warmup_steps=2",
            "run.threads=2",
            "checkpoint.every_steps=3",
        ]
        blocked, steps = [], []
        for place in range(rounds):
            directory = f"stop{place}"
            subprocess.run(self.train(directory, settings, 1), check=True, capture_output=True)
            events = map(json.loads, (self.place / directory / "events.jsonl").read_text().splitlines())
            blocked += [event["blocked_s"] for event in events if event["event"] == "checkpoint"]
            metrics = map(json.loads, (self.place / directory / "metrics.jsonl").read_text().splitlines())
            steps += [line["step_s"] for line in metrics]
        return {
            "blocked_s": statistics.median(blocked),
            "most_s": max(blocked),
            "step_s": statistics.median(steps),
        }

    def restart(self):
        settings = [
            "train.steps=100000",
            "train.micro_batch_size=1",
            "run.threads=1",
            "checkpoint.every_steps=20",
        ]
        log = self.place / "restart/metrics.jsonl"
        job = subprocess.Popen(
            self.train("restart", settings, 2), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while not log.exists() or log.read_text().count("\n") < 45:
            time.sleep(0.05)
        job.send_signal(signal.SIGKILL)
        job.wait()
        subprocess.run(["pkill", "-KILL", "-f", f"run.dir={self.place}/restart"], check=False)
        time.sleep(1)
        size = log.stat().st_size
        started = time.monotonic()
        job = subprocess.Popen(
            self.train("restart", settings, 2), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        # The log is first truncated to the checkpoint, then grows.
        shortest = size
        while True:
            now = log.stat().st_size
            shortest = min(shortest, now)
            if shortest < size and now > shortest:
                break
            time.sleep(0.005)
        seconds = time.monotonic() - started
        job.terminate()
        time.sleep(1)
        subprocess.run(["pkill", "-KILL", "-f", f"run.dir={self.place}/restart"], check=False)
        job.wait()
        return seconds

    def probes(self, rounds):
        ratios, seconds = [], {1: [], 2: []}
        for place in range(rounds):
            for ranks in (1, 2):
                directory = f"probes{place}-{ranks}"
                settings = [
                    *MIDDLE,
                    "train.steps=2",
                    "schedule.warmup_steps=1",
                    "run.threads=1",
                    "checkpoint.every_steps=100",
                ]
                words = self.train(directory, settings, ranks)
                words += ["--set", 'probes=[{suite="tinyworld",every_steps=2,log_spaced=false}]']
                subprocess.run(words, check=True, capture_output=True)
                events = map(json.loads, (self.place / directory / "events.jsonl").read_text().splitlines())
                seconds[ranks].append(
                    sum(event["seconds"] for event in events if event["event"] == "evaluation_finished")
                )
            ratios.append(seconds[2][-1] / seconds[1][-1])
        return {
            "ratio": statistics.median(ratios),
            **{f"{ranks}x1": statistics.median(values) for ranks, values in seconds.items()},
        }

    def memory(self):
        found = []
        for ranks, mode in [(1, "data_parallel"), (2, "data_parallel"), (2, "zero1")]:
            settings = [*LARGE, f"distributed.mode={mode}"]
            measured = self.time(ranks, 1, settings, 3)["peak_rss_mib"]
            planned = self.json(self.words("plan", settings) + ["--devices", str(ranks), "--json"])
            way = next(
                way
                for way in planned["setups"]
                if way["precision"] == "f32" and way["mode"] == mode
            )
            memory = way["memory"]
            expected = (memory["total"] - memory["snapshot"]) / (1 << 20)
            found.append(
                {
                    "ranks": ranks,
                    "mode": mode,
                    "mib": measured,
                    "planned_mib": expected,
                    "ratio": measured / expected,
                }
            )
        return found


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--binary", type=lambda path: Path(path).resolve(), required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=["step", "wire", "checkpoint", "restart", "probes", "memory"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        bench = Bench(options.binary, Path(place))
        parts = {
            "step": lambda: bench.step_ratio(options.rounds),
            "wire": lambda: [bench.wire(ranks) for ranks in (2, 4)],
            "checkpoint": lambda: bench.checkpoint_stop(options.rounds),
            "restart": lambda: {"seconds": statistics.median(bench.restart() for _ in range(1))},
            "probes": lambda: bench.probes(options.rounds),
            "memory": bench.memory,
        }
        found = {name: part() for name, part in parts.items() if options.only in (None, name)}
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
