#!/usr/bin/env python3
"""Trains through injected faults, and compares the result with that of an undisturbed run.

    cargo build --release --features mpi
    scripts/soak.py --binary target/release/fineline [--steps 2000] [--faults 30] [--seed 1] [--ranks 1,2,4]

A tiny model is trained with a fixed reduction tree (`distributed.deterministic`), on a number of ranks that
changes with every start. Faults occur in turn at random steps:

    kill        SIGKILL to a random rank
    term        SIGTERM to a random rank: a checkpoint, and exit code 143
    hang        SIGSTOP to a random rank: the others name it and end
    torn        SIGKILL, then the newest checkpoint loses the end of a file
    full_disk   the disk becomes full, the run is killed, and the disk has space again (needs root)
    nan         the loss of a step becomes NaN, and the guard stops the run (FINELINE_FAULTS)

After each fault, the same command resumes the run. At the end, the logged losses and the weights must be
those of the undisturbed run, bit for bit. Needs only Python and Open MPI. The exit code is 1 if anything
differs.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONFIG = """
[run]
name = "soak"
dir = "run"
seed = 7
threads = 1

[model]
vocab_size = 320
hidden_size = 64
intermediate_size = 128
num_hidden_layers = 2
num_attention_heads = 4
num_key_value_heads = 2
max_position_embeddings = 64

[tinyworld]
seed = 3
documents = 2000

[tokenizer]
train_vocab_size = 320

[data]
seq_len = 64
cache_dir = "cache"

[[data.mix]]
name = "world"
path = "tinyworld"

[optim]
lr = 1e-2

[schedule]
warmup_steps = 20
min_lr = 1e-3

[train]
steps = STEPS
global_batch_size = 8
micro_batch_size = 1

[checkpoint]
every_steps = 10
keep_last = 3

[distributed]
deterministic = true
timeout_s = 5

[guard]
max_skips = 1

[[probes]]
suite = "tinyworld"
every_steps = 200
limit = 20
"""

FAULTS = ["kill", "term", "torn", "nan", "hang", "full_disk"]


class Soak:
    def __init__(self, options, place):
        self.options = options
        self.place = place
        self.random = random.Random(options.seed)
        self.counts = {}
        (place / "soak.toml").write_text(CONFIG.replace("STEPS", str(options.steps)))

    def command(self, directory, ranks, *overrides):
        command = [str(self.options.binary), "train", "soak.toml", "--set", f"run.dir={directory}"]
        for override in overrides:
            command += ["--set", override]
        if ranks == 1:
            return command
        launch = ["mpirun", "--oversubscribe", "--bind-to", "none", "-np", str(ranks)]
        if os.geteuid() == 0:
            launch.append("--allow-run-as-root")
        return launch + command

    def start(self, directory, ranks, faults="", overrides=()):
        env = dict(os.environ)
        if faults:
            env["FINELINE_FAULTS"] = faults
        log = open(self.place / "output.log", "ab")
        self.log_start = log.tell()
        return subprocess.Popen(
            self.command(directory, ranks, *overrides), cwd=self.place, env=env, stdout=log, stderr=log
        )

    def step(self, directory):
        """Returns the last logged step. A torn last line doesn't count."""
        try:
            lines = (self.place / directory / "metrics.jsonl").read_bytes().split(b"\n")[:-1]
            return json.loads(lines[-1])["step"] if lines else 0
        except (FileNotFoundError, ValueError):
            return 0

    def processes(self, directory):
        """Returns the processes that train in the directory, without `mpirun`."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                arguments = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if (
                arguments[0].endswith(self.options.binary.name.encode())
                and f"run.dir={directory}".encode() in arguments
            ):
                found.append(int(entry.name))
        return sorted(found)

    def is_training(self):
        """Returns whether the last start has reached its first step. Before that, the logs may have steps to
        be undone.
        """
        with open(self.place / "output.log", "rb") as log:
            log.seek(self.log_start)
            return b"\ntraining " in b"\n" + log.read()

    def wait_for_step(self, job, directory, step):
        """Waits for a step, and returns whether the job reached it."""
        while not self.is_training() or self.step(directory) < step:
            if job.poll() is not None:
                return False
            time.sleep(0.02)
        return True

    def wait(self, job, seconds=90):
        try:
            return job.wait(seconds)
        except subprocess.TimeoutExpired:
            job.kill()
            for process in self.processes("soaked"):
                os.kill(process, signal.SIGKILL)
            raise SystemExit("soak: the job didn't end by itself") from None

    def inject(self, fault, step):
        """Trains to the step, injects the fault, and waits for the end of the job."""
        directory = "soaked"
        ranks = self.random.choice(self.options.ranks)
        if fault == "hang" and ranks == 1:
            ranks = max(self.options.ranks)
        overrides = ['distributed.mode="zero1"'] if self.random.random() < 0.5 else []
        job = self.start(directory, ranks, f"nan_loss@{step}" if fault == "nan" else "", overrides)
        if fault == "nan":
            code = self.wait(job)
            assert code not in (0, 143), f"a NaN ended the run with {code}"
            return self.report(fault, step, ranks, code)
        assert self.wait_for_step(job, directory, step), (
            f"the run ended before the fault, with {job.returncode}: see output.log"
        )
        victims = self.processes(directory)
        victim = self.random.choice(victims) if victims else None
        if fault == "full_disk":
            filler = self.place / directory / "filler"
            fill(filler)
            time.sleep(1.0)
            for process in self.processes(directory):
                os.kill(process, signal.SIGKILL)
            code = self.wait(job)
            filler.unlink(missing_ok=True)
            return self.report(fault, step, ranks, code)
        number = {"term": signal.SIGTERM, "hang": signal.SIGSTOP}.get(fault, signal.SIGKILL)
        if victim is not None:
            os.kill(victim, number)
        code = self.wait(job)
        if fault == "term":
            assert code == 143, f"SIGTERM ended the run with {code}"
        if fault == "hang":
            assert code == 1, f"a hung rank ended the job with {code}"
        if fault == "torn":
            self.tear(directory)
        return self.report(fault, step, ranks, code)

    def tear(self, directory):
        checkpoints = sorted((self.place / directory / "checkpoints").glob("step-*"))
        if len(checkpoints) > 1:
            files = sorted(checkpoints[-1].glob("*.safetensors"))
            torn = self.random.choice(files)
            os.truncate(torn, torn.stat().st_size // 2)

    def report(self, fault, step, ranks, code):
        self.counts[fault] = self.counts.get(fault, 0) + 1
        print(f"  step {step:5}  {fault:9}  {ranks} ranks  exit code {code}", flush=True)

    def run(self):
        options = self.options
        started = time.time()
        assert self.wait(self.start("undisturbed", 1), 3600) == 0, (
            "the undisturbed run failed: see output.log"
        )
        undisturbed_s = time.time() - started
        can_fill = mount(self.place / "soaked")
        faults = [fault for fault in FAULTS if can_fill or fault != "full_disk"]
        try:
            started = time.time()
            steps = sorted(self.random.sample(range(15, options.steps - 10), options.faults))
            for place, step in enumerate(steps):
                # Steps that an earlier fault undid are computed again on the way to this one.
                self.inject(faults[place % len(faults)], step)
            assert self.wait(self.start("soaked", self.random.choice(options.ranks)), 3600) == 0, (
                "the last start failed: see output.log"
            )
            soaked_s = time.time() - started
            same = self.compare()
        finally:
            if can_fill:
                subprocess.run(["umount", str(self.place / "soaked")], check=False)
        print(
            json.dumps(
                {
                    "steps": options.steps,
                    "faults": self.counts,
                    "undisturbed_s": round(undisturbed_s, 1),
                    "soaked_s": round(soaked_s, 1),
                    "identical": same,
                }
            )
        )
        return same

    def compare(self):
        last = f"checkpoints/step-{self.options.steps:08}"
        digests, losses = [], []
        for directory in ["undisturbed", "soaked"]:
            digests.append(tensors(self.place / directory / last))
            lines = (self.place / directory / "metrics.jsonl").read_text().splitlines()
            losses.append(
                [(line["step"], line["loss"], line["grad_norm"]) for line in map(json.loads, lines)]
            )
        if losses[0] != losses[1]:
            first = next((pair for pair in zip(*losses) if pair[0] != pair[1]), "the number of lines")
            print(f"losses differ: {first}")
        if digests[0] != digests[1]:
            print("weights differ")
        return losses[0] == losses[1] and digests[0] == digests[1]


def tensors(directory):
    """Returns a hash of each weight, regardless of the files that contain them."""
    found = {}
    for path in sorted(directory.glob("model*.safetensors")):
        data = path.read_bytes()
        length = int.from_bytes(data[:8], "little")
        for name, entry in json.loads(data[8 : 8 + length]).items():
            if name != "__metadata__":
                start, end = entry["data_offsets"]
                found[name] = hashlib.sha256(data[8 + length + start : 8 + length + end]).hexdigest()
    return found


def mount(directory):
    """Mounts a file system for the run, small enough to be filled."""
    directory.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(directory)], capture_output=True, check=False
    )
    if done.returncode != 0:
        print("full_disk is skipped: no file system can be mounted")
    return done.returncode == 0


def fill(path):
    try:
        with open(path, "wb") as file:
            while True:
                file.write(bytes(1 << 16))
                file.flush()
    except OSError:
        pass


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--binary", type=lambda path: Path(path).resolve(), required=True)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--faults", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--ranks", type=lambda text: [int(part) for part in text.split(",")], default=[1, 2, 4]
    )
    parser.add_argument("--keep", type=Path, help="work in this directory and keep it")
    options = parser.parse_args()
    if options.keep:
        options.keep.mkdir(parents=True)
        same = Soak(options, options.keep.resolve()).run()
    else:
        with tempfile.TemporaryDirectory() as place:
            same = Soak(options, Path(place)).run()
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
