#!/usr/bin/env python3
"""Evaluates one lm-evaluation-harness task on a checkpoint on the CPU, and prints a JSON object. Used by
`probe_vs_lm_eval`.
"""

import argparse
import json
import logging
import os
import resource
import time
from pathlib import Path

START = time.perf_counter()

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

import lm_eval  # noqa: E402
import torch  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402
from transformers import PreTrainedTokenizerFast  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("task", type=Path, help="YAML file of the task")
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(args.threads)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(args.checkpoint / "tokenizer.json"), bos_token="<s>", eos_token="</s>"
    )
    lm = HFLM(
        pretrained=str(args.checkpoint),
        tokenizer=tokenizer,
        dtype="float32",
        device="cpu",
        batch_size=args.batch_size,
        add_bos_token=True,
    )
    manager = TaskManager(include_path=str(args.task.parent), include_defaults=False)
    loaded = time.perf_counter()
    results = lm_eval.simple_evaluate(
        lm, tasks=[args.task.stem], task_manager=manager, bootstrap_iters=0, log_samples=True
    )
    samples = results["samples"][args.task.stem]
    print(
        json.dumps(
            {
                "acc": results["results"][args.task.stem]["acc,none"],
                "requests": sum(len(sample["arguments"]) for sample in samples),
                "start_s": loaded - START,
                "evaluation_s": time.perf_counter() - loaded,
                "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
