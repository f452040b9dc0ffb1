#!/usr/bin/env python3
"""Compares the speed of fineline's SentencePiece implementation and the sentencepiece package, on one thread
and on all.

    cargo build --release -p fineline-data --example encode_texts
    python scripts/bench/tokenizer_vs_sentencepiece.py --model tokenizer.model --text FILE \\
        [--text FILE ...] [--rounds 5]

Each text is encoded whole and line by line, alternating, in a new process each time, so that fineline
starts with an empty cache of words. Prints the median MB/s of each, and of the ratio of consecutive
measurements. Needs a Python with sentencepiece 0.2.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import sentencepiece as spm

REPOSITORY = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))


def ours(model: Path, texts: Path, threads: int) -> float:
    command = [TARGET / "release/examples/encode_texts", model, texts]
    environment = os.environ | {"RAYON_NUM_THREADS": str(threads)}
    return json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    )["seconds"]


def theirs(package: spm.SentencePieceProcessor, texts: list[str]) -> float:
    begin = time.perf_counter()
    for text in texts:
        package.encode(text)
    return time.perf_counter() - begin


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--text", type=Path, action="append", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    package = spm.SentencePieceProcessor(model_file=str(options.model))
    threads = os.cpu_count() or 1
    print(f"{'MB/s':48} {'package':>9} {'ours, 1':>9} {f'ours, {threads}':>9} {'ratio, 1':>9}")
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "texts.json"
        for path in options.text:
            text = path.read_text()
            for how, texts in [("whole", [text]), ("lines", text.split("\n"))]:
                file.write_text(json.dumps(texts))
                rounds = [
                    (theirs(package, texts), ours(options.model, file, 1), ours(options.model, file, threads))
                    for _ in range(options.rounds)
                ]
                size = len(text.encode()) / 1e6
                rates = [size / statistics.median(seconds) for seconds in zip(*rounds)]
                ratio = statistics.median(their / our for their, our, _ in rounds)
                speeds = " ".join(f"{rate:9.1f}" for rate in rates)
                print(f"{path.name + ', ' + how:48} {speeds} {ratio:8.2f}x", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
