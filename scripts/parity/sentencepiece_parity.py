#!/usr/bin/env python3
"""Compares fineline's implementation of SentencePiece models with the sentencepiece package: ids and decoded
text, of lines and whole texts.

    cargo build --release -p fineline-data --example encode_texts
    python scripts/parity/sentencepiece_parity.py --corpora CORPORA [--model tokenizer.model ...] \\
        [--lines 10000]

CORPORA is a directory of texts (.txt, .txt.gz, .jsonl with a field `text`). In addition to the given
models, some are trained on them with flags that are in use: OpenLLaMA's (both versions), T5's (unigram,
nmt_nfkc), nfkc_cf. Needs a Python with sentencepiece 0.2. Prints a table of differences. The exit code is 1
if there are any.
"""

import argparse
import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import sentencepiece as spm

REPOSITORY = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))

TRAINED = {
    "openllama v1": dict(
        model_type="bpe",
        byte_fallback=True,
        split_digits=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=True,
    ),
    "openllama v2": dict(
        model_type="bpe",
        byte_fallback=True,
        split_digits=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
    ),
    "bpe nmt_nfkc": dict(model_type="bpe", byte_fallback=True),
    "bpe without bytes": dict(
        model_type="bpe", user_defined_symbols=["\\begin", "==", "the"], character_coverage=0.999
    ),
    "unigram nmt_nfkc": dict(model_type="unigram"),
    "unigram nfkc_cf, bytes": dict(
        model_type="unigram",
        normalization_rule_name="nfkc_cf",
        byte_fallback=True,
        remove_extra_whitespaces=False,
    ),
    "unigram identity": dict(
        model_type="unigram",
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        user_defined_symbols=["\\begin", "=="],
    ),
}


def read(corpora: Path) -> dict[str, str]:
    texts = {}
    for path in sorted(corpora.rglob("*")):
        if path.suffix == ".jsonl":
            texts[path.name] = "\n".join(json.loads(line)["text"] for line in path.read_text().splitlines())
        elif path.suffix == ".gz":
            texts[path.name] = gzip.decompress(path.read_bytes()).decode(errors="replace")
        elif path.suffix == ".txt":
            texts[path.name] = path.read_text()
    return texts


def sample(texts: dict[str, str], lines: int) -> list[str]:
    """Returns lines from all texts equally, and a long excerpt of each."""
    draw = random.Random(1)
    chosen = []
    for text in texts.values():
        found = [line for line in text.split("\n") if line]
        chosen += draw.sample(found, min(len(found), -(-lines // len(texts))))
    return chosen + [text[1000:301_000] for text in texts.values()]


def ours(model: Path, texts: list[str], directory: Path) -> list[tuple[list[int], str]]:
    (directory / "texts.json").write_text(json.dumps(texts))
    command = [TARGET / "release/examples/encode_texts", model, directory / "texts.json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["texts"]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpora", type=Path, required=True)
    parser.add_argument(
        "--model", type=Path, action="append", default=[], help="a .model file; may be repeated"
    )
    parser.add_argument("--lines", type=int, default=10_000)
    options = parser.parse_args()
    corpora = read(options.corpora)
    texts = sample(corpora, options.lines)
    differences = 0
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        models = {str(path): path for path in options.model}
        for title, flags in TRAINED.items():
            lines = [line for line in sample(corpora, 20_000) if len(line) < 4000]
            prefix = directory / title.replace(" ", "-")
            spm.SentencePieceTrainer.train(
                sentence_iterator=iter(lines),
                model_prefix=str(prefix),
                vocab_size=8000,
                minloglevel=2,
                hard_vocab_limit=False,
                num_threads=2,
                **flags,
            )
            models[title] = Path(f"{prefix}.model")
        print(f"{'model':40} {'texts':>7} {'tokens':>10} {'other ids':>10} {'other text':>10}")
        for title, path in models.items():
            package = spm.SentencePieceProcessor(model_file=str(path))
            tokens = other_ids = other_text = 0
            for text, (ids, decoded) in zip(texts, ours(path, texts, directory), strict=True):
                expected = package.encode(text)
                tokens += len(expected)
                if ids != expected:
                    other_ids += 1
                    if other_ids == 1:
                        at = next(
                            (at for at, pair in enumerate(zip(ids, expected)) if pair[0] != pair[1]),
                            min(len(ids), len(expected)),
                        )
                        pieces = [package.id_to_piece(tokens[at : at + 6]) for tokens in (expected, ids)]
                        print(f"  {text[:60]!r} at token {at}: {pieces[0]}, not {pieces[1]}")
                other_text += decoded != package.decode(expected)
            differences += other_ids + other_text
            print(f"{title[-40:]:40} {len(texts):7} {tokens:10} {other_ids:10} {other_text:10}", flush=True)
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
