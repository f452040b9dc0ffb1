#!/usr/bin/env python3
"""Compares `fineline probe` with lm-evaluation-harness 0.4.13 on one checkpoint, item by item.

    cargo build --release --workspace --bins --example request_tokens
    HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 python scripts/parity/lm_eval_parity.py CHECKPOINT \\
        --data EVAL --wikitext TEST.txt --tasks hellaswag,mmlu --limit 200 --out /tmp/parity

CHECKPOINT is a Hugging Face LLaMA directory, EVAL the directory for `data_dir` of [[probes]]. The harness
runs its own task files, changed only in the location of the data. The items are those that `--limit`
selects in fineline. For every choice, the script compares the token ids of context and continuation and the
log-probability; for every item, whether it counts as right; for every metric of both, value and standard
error. For generated answers, it compares the token ids of prompts, the texts, and the answers that each
filter accepts. OpenCompass's scorer is compared with a plain transformers loop. Prints a table. The exit
code is 1 if anything differs.
"""

import argparse
import csv
import json
import math
import os
import pathlib
import re
import shutil
import subprocess
import sys

import lm_eval
import pandas
import torch
import yaml
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import PreTrainedTokenizerFast

ROOT = pathlib.Path(__file__).resolve().parents[2]
STOCK = pathlib.Path(lm_eval.__file__).parent / "tasks"
TOLERANCE = {"logprob": 1e-4, "metric": 1e-9, "stderr": 1e-6}


def jsonl(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]


def read_directory(path):
    """Returns the records of a directory as fineline reads them: files sorted by path, `file` added."""
    records = []
    for file in sorted(p for p in path.rglob("*") if p.suffix in {".jsonl", ".csv", ".json"}):
        with file.open(encoding="utf-8-sig", newline="") as lines:
            if file.suffix == ".json":
                rows = json.load(lines)["examples"]
            else:
                rows = (
                    list(csv.DictReader(lines))
                    if file.suffix == ".csv"
                    else [json.loads(line) for line in lines]
                )
        records += [row | {"file": file.stem} for row in rows]
    return records


def race(record):
    problem = {key: record[key] for key in ("question", "options", "answer")}
    return {"article": record["article"], "problems": repr([problem])}


def ceval(record):
    question, *choices = re.match(
        r"(.*)\nA\. (.*)\nB\. (.*)\nC\. (.*)\nD\. (.*)$", record["inputs_pretokenized"], re.S
    ).groups()
    return dict(
        zip(
            "question A B C D answer file".split(),
            [question, *choices, "ABCD"[record["label"]], record["file"]],
        )
    )


# For each task: the harness's task file, the split that it evaluates, and the conversion of a record.
SAME = dict
TASKS = {
    "arc_easy": ("arc/arc_easy.yaml", "validation", SAME),
    "arc_challenge": ("arc/arc_challenge.yaml", "validation", SAME),
    "boolq": ("super_glue/boolq/default.yaml", "validation", lambda r: r | {"label": int(r["answer"])}),
    "ceval": ("ceval/ceval-valid_{}.yaml", "validation", ceval),
    "cmmlu": ("cmmlu/cmmlu_{}.yaml", "test", SAME),
    "commonsense_qa": ("commonsense_qa/default.yaml", "validation", SAME),
    "commonsense_qa_cloze": ("arc/arc_easy.yaml", "validation", SAME),
    "hellaswag": ("hellaswag/hellaswag.yaml", "validation", SAME),
    "lambada": (
        "lambada/lambada_openai.yaml",
        "test",
        lambda r: {"text": f"{r['context']} {r['continuation']}"},
    ),
    "mmlu": ("mmlu/default/mmlu_{}.yaml", "test", SAME),
    "mmlu_continuation": ("mmlu/continuation/mmlu_{}.yaml", "test", SAME),
    "piqa": ("piqa/piqa.yaml", "validation", SAME),
    "race": ("race/race.yaml", "test", race),
    "wikitext": ("wikitext/wikitext.yaml", "test", SAME),
    "winogrande": ("winogrande/default.yaml", "validation", SAME),
}
# Tasks in which the model generates its answers.
WRITTEN = {
    "gsm8k": ("gsm8k/gsm8k.yaml", "test", SAME),
    "nq_open": ("nq_open/nq_open.yaml", "validation", SAME),
    "triviaqa": ("triviaqa/default.yaml", "validation", SAME),
    "bbh": ("bbh/cot_fewshot/{}.yaml", "test", SAME),
    "math": ("hendrycks_math/hendrycks_math_algebra.yaml", "test", SAME),
}
FULL_PROMPT = ["piqa_full_prompt"]
GROUPED_BY = {
    "bbh": "file",
    "mmlu": "subject",
    "mmlu_continuation": "subject",
    "cmmlu": "file",
    "ceval": "file",
}
CHOICE_METRICS = ["acc", "acc_norm", "acc_bytes", "acc_mutual_info", "brier"]
TEXT_METRICS = ["acc", "perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte"]


def prepare_suite(args):
    """Writes a directory with the task files and links to their data. Returns the suite file and the parsed
    tasks.
    """
    tasks = args.out / "suite"
    tasks.mkdir(parents=True)
    for entry in args.data.iterdir():
        (tasks / entry.name).symlink_to(entry.resolve())
    if args.wikitext:
        (tasks / "wikitext-2").mkdir()
        lines = args.wikitext.read_text(encoding="utf-8").splitlines(keepends=True)
        starts = [i for i, line in enumerate(lines) if re.fullmatch(r" = [^=].* = \n", line)] + [len(lines)]
        # Names of special tokens are plain text in fineline, and tokens in the harness.
        pages = ["".join(lines[start:end]).replace("<unk>", "unk") for start, end in zip(starts, starts[1:])]
        (tasks / "wikitext-2/test.jsonl").write_text(
            "".join(json.dumps({"page": page}) + "\n" for page in pages)
        )
    files = {}
    for name in args.tasks:
        text = (ROOT / f"configs/probes/tasks/{name}.toml").read_text(encoding="utf-8")
        # The harness's unconditional context is empty.
        (tasks / f"{name}.toml").write_text(
            text.replace('unconditional = "Answer:"', 'unconditional = ""'), encoding="utf-8"
        )
        files[name] = re.search(r'^data = "(.*)"', text, re.M)[1]
    suite = args.out / "suite/parity.toml"
    suite.write_text("tasks = " + json.dumps([f"{name}.toml" for name in args.tasks]))
    return suite, {name: tasks / path for name, path in files.items()}


def run_fineline(args, suite):
    """Returns the rows of the item store and the token ids, by task."""
    out = args.out / "fineline"
    limit = ["--limit", str(args.limit)] if args.limit else []
    run = lambda *command: (
        subprocess.run(
            list(map(str, command)), check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True
        ).stdout
    )
    run(args.fineline, "probe", args.checkpoint, "--suite", suite, "--out", out, *limit)
    limit_argument = [str(args.limit)] if args.limit else []
    asked = run(args.request_tokens, args.checkpoint, suite, args.data, *limit_argument)
    rows = {
        task: group for task, group in pandas.read_parquet(out / "items.parquet").groupby("task", sort=False)
    }
    ids = {}
    for line in map(json.loads, asked.strip().split("\n")):
        key = (line["item"], line["choice"], line["unconditional"])
        ids.setdefault(line["task"], {}).setdefault(key, []).append(
            (line["context_ids"], line["continuation_ids"])
        )
    return rows, ids, json.loads((out / "results.json").read_text())["results"]


def choice_metric(name):
    return {"metric": name, "aggregation": "mean", "higher_is_better": True}


def write_task(args, name, task, stock, split, records, examples):
    """Writes a task file that includes the harness's one and has these records as data."""
    directory = args.out / "lm_eval"
    directory.mkdir(exist_ok=True)
    files = {}
    for part, rows in [(split, records), ("dev", examples)]:
        if rows:
            files[part] = str(directory / f"{task}.{part}.jsonl")
            pathlib.Path(files[part]).write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = {
        "include": str(STOCK / stock),
        "task": task,
        "tag": [],
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": files},
        "training_split": None,
        "validation_split": None,
        "test_split": None,
        f"{split}_split": split,
        "fewshot_split": "dev" if examples else None,
        "num_fewshot": 5 if examples else 0,
    }
    if name == "commonsense_qa_cloze":
        config |= {"doc_to_text": "Question: {{question.strip()}}\nAnswer:"}
    if name not in {"lambada", "wikitext"}:
        metrics = ["acc"] if name == "winogrande" else ["acc", "acc_norm", "acc_bytes"]
        metrics += ["acc_mutual_info"] if name == "commonsense_qa_cloze" else []
        brier = {"metric": "brier_score", "aggregation": "brier_score", "higher_is_better": False}
        # The harness can't compute it if items have different numbers of choices.
        briers = [] if name.startswith("arc_") else [brier]
        config["metric_list"] = [choice_metric(metric) for metric in metrics] + briers
    (directory / f"{task}.yaml").write_text(yaml.safe_dump(config, allow_unicode=True))


def write_written_task(args, name, task, stock, split, records, examples):
    """The same for a task with generated answers of at most half the model's context."""
    directory = args.out / "lm_eval"
    write_task(args, name, task, stock, split, records, examples)
    config = yaml.safe_load((directory / f"{task}.yaml").read_text())
    del config["metric_list"]
    stop = {
        "gsm8k": ["Question:", "</s>", "<|im_end|>"],
        "bbh": ["</s>", "Q", "\n\n"],
        "math": ["Problem:"],
    }.get(name, ["\n", ".", ","])
    longest = {"bbh": 1024, "math": 512}.get(name, 256)
    context = json.loads((args.checkpoint / "config.json").read_text())["max_position_embeddings"]
    config["generation_kwargs"] = {
        "until": stop,
        "do_sample": False,
        "max_gen_toks": min(longest, context // 2),
    }
    config["num_fewshot"] = {"gsm8k": 5, "bbh": 3, "math": 4}.get(name, 0)
    if examples:
        config["fewshot_config"] = {"sampler": "first_n"}
    else:
        del config["fewshot_split"]
    if name == "math":
        # The functions are in the directory of the harness's task file. The examples are solutions, not
        # answers.
        config["doc_to_target"] = "{{solution}}"
    (directory / f"{task}.yaml").write_text(yaml.safe_dump(config, allow_unicode=True))


def write_tasks(args, name, data, items):
    """Returns the harness's tasks for one of fineline's: one, or one per subject."""
    stock, split, convert = (TASKS | WRITTEN)[name]
    write = write_written_task if name in WRITTEN else write_task
    records = read_directory(data) if data.is_dir() else jsonl(data)
    chosen = [convert(records[item]) | {"fineline_item": int(item)} for item in items]
    group = GROUPED_BY.get(name)
    if group is None:
        # A few more than needed, since a question is never its own example.
        pool = {"gsm8k": lambda: jsonl(data.parent / "train.jsonl")[:20], "math": lambda: records[:20]}.get(
            name, list
        )()
        examples = [record | {"fineline_item": -1} for record in pool]
        write(args, name, f"parity_{name}", stock, split, chosen, examples)
        return [f"parity_{name}"]
    dev = {
        "mmlu": lambda: jsonl(data.parent / "mmlu.dev.jsonl"),
        "cmmlu": lambda: read_directory(data.parent / "dev"),
    }
    examples = [record | {"fineline_item": -1} for record in dev.get(name, list)()]
    tasks = []
    for subject in sorted({record[group] for record in chosen}):
        of = lambda rows: [row for row in rows if row[group] == subject]
        tasks.append(f"parity_{name}_{subject}")
        write(args, name, tasks[-1], stock.format(subject), split, of(chosen), of(examples))
    return tasks


def open_tokenizer(checkpoint):
    """Returns the tokenizer of the file, with special tokens by the ids of `config.json`, since a bare
    `tokenizer.json` doesn't name them."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(checkpoint / "tokenizer.json"))
    config = json.loads((checkpoint / "config.json").read_text())
    marks = {mark: config.get(f"{mark}_token_id") for mark in ("bos", "eos")}
    names = {
        f"{mark}_token": tokenizer.convert_ids_to_tokens(id)
        for mark, id in marks.items()
        if isinstance(id, int)
    }
    return PreTrainedTokenizerFast(tokenizer_file=str(checkpoint / "tokenizer.json"), **names)


def harness_ids(lm, arguments):
    """Returns context and continuation as `HFLM` encodes and truncates them."""
    context, continuation = arguments
    if context == "":
        ids = lm.tok_encode(continuation, add_special_tokens=False)
        pair = ([lm.prefix_token_id], ids[1:] if ids[0] == lm.prefix_token_id else ids)
    else:
        pair = lm._encode_pair(context, continuation)
    kept = max(0, lm.max_length + 1 - len(pair[1]))
    return pair[0][max(0, len(pair[0]) - kept) :], pair[1]


class Comparison:
    """The comparison of one task."""

    def __init__(self, name):
        self.name, self.items, self.choices, self.distance = name, 0, 0, 0.0
        self.problems, self.metrics, self.stderr = [], {}, None

    def logprob(self, where, ours, theirs):
        self.choices += 1
        distance = abs(ours - theirs)
        self.distance = max(self.distance, distance)
        # The sum over a whole document has one rounding per token.
        if not distance <= max(TOLERANCE["logprob"], 1e-6 * abs(theirs)):
            self.problems.append(f"{where}: log-probability {ours}, expected {theirs}")

    def equal(self, where, what, ours, theirs):
        if ours != theirs:
            self.problems.append(f"{where}: {what} {ours}, expected {theirs}")

    def metric(self, name, ours, theirs):
        self.metrics[name] = (ours, theirs)
        if not math.isclose(
            ours,
            theirs,
            rel_tol=1e-5
            if name.endswith(("perplexity", "byte", "brier", "mean_ce"))
            else TOLERANCE["metric"],
        ):
            self.problems.append(f"{name} is {ours}, expected {theirs}")

    def row(self):
        value = lambda name: f"{name} {self.metrics[name][0]:.6g} / {self.metrics[name][1]:.6g}"
        stderr = (
            "-"
            if self.stderr is None
            else self.stderr
            if isinstance(self.stderr, str)
            else f"{self.stderr:.1e}"
        )
        verdict = "equal" if not self.problems else f"**{len(self.problems)} differ**"
        return [
            self.name,
            self.items,
            self.choices,
            f"{self.distance:.1e}",
            "<br>".join(map(value, self.metrics)),
            stderr,
            verdict,
        ]


def picks(rows, key):
    best = max(range(len(rows)), key=lambda i: (key(rows[i]), -i))
    return float(rows[best].choice == rows[best].gold)


def compare_item(comparison, lm, rows, ids, sample):
    """Compares the choices of one item."""
    item = rows[0].item
    scored = [(row.choice, False, row.logprob) for row in rows]
    scored += [
        (row.choice, True, row.unconditional_logprob)
        for row in rows
        if not math.isnan(row.unconditional_logprob)
    ]
    comparison.equal(item, "number of requests", len(scored), len(sample["arguments"]))
    for (choice, unconditional, logprob), arguments, response in zip(
        scored, sample["arguments"], sample["filtered_resps"]
    ):
        where = f"item {item}, choice {choice}{' alone' if unconditional else ''}"
        windows = ids[item, choice, unconditional]
        if len(arguments) == 2:
            comparison.equal(
                where,
                "token ids",
                [windows[0][0], windows[0][1]],
                list(map(list, harness_ids(lm, arguments))),
            )
            comparison.logprob(where, logprob, response[0])
        else:
            tokens = lm.tok_encode(arguments[0], add_special_tokens=False)
            comparison.equal(where, "token ids", [token for window in windows for token in window[1]], tokens)
            comparison.logprob(where, logprob, response if isinstance(response, float) else response[0])


def compare(name, lm, rows, ids, ours, samples, results, clustered):
    comparison = Comparison(name)
    by_item = {item: list(group.itertuples()) for item, group in rows.groupby("item")}
    for sample in samples:
        item = sample["doc"]["fineline_item"]
        compare_item(comparison, lm, by_item[item], ids, sample)
        if "acc" in sample and name != "lambada":
            comparison.equal(
                f"item {item}", "correct", picks(by_item[item], lambda row: row.logprob), sample["acc"]
            )
    comparison.items = len(samples)
    comparison.equal("all", "items", len(samples), len(by_item))
    sizes = [result["samples"] for result in results]
    for metric in CHOICE_METRICS + TEXT_METRICS:
        key = {"brier": "brier_score"}.get(metric, metric) + ",none"
        if f"{metric},none" in ours and all(key in result["scores"] for result in results):
            theirs = sum(size * result["scores"][key] for size, result in zip(sizes, results)) / sum(sizes)
            comparison.metric(metric, ours[f"{metric},none"], theirs)
    theirs = results[0]["scores"].get("acc_stderr,none")
    if clustered:
        comparison.stderr = "clustered"
    elif len(results) == 1 and isinstance(theirs, float):
        comparison.stderr = abs(ours["acc_stderr,none"] - theirs)
        if comparison.stderr > TOLERANCE["stderr"]:
            comparison.problems.append(f"standard error of acc {ours['acc_stderr,none']}, expected {theirs}")
    return comparison


def compare_written(name, lm, rows, ids, ours, samples, results):
    """Compares prompts, texts, and the answers that each filter extracts."""
    comparison = Comparison(name)
    by_filter = {
        (row.item, row.filter if isinstance(row.filter, str) else "none"): row for row in rows.itertuples()
    }
    named = {"none": "hendrycks"} if name == "math" else {}
    # An example of this subtask has a space in the data's prompt file where the harness has a line break.
    same = [sample for sample in samples if sample["doc"].get("file") != "sports_understanding"]
    for sample in same:
        item, filter = sample["doc"]["fineline_item"], named.get(sample["filter"], sample["filter"])
        where, row = f"item {item}, {filter}", by_filter[item, filter]
        context, settings = sample["arguments"][0]
        room = lm.max_length - settings["max_gen_toks"]
        prompt = lm.tok_batch_encode([context], left_truncate_len=room)[0][0].tolist()
        comparison.equal(where, "token ids", ids[item, 0, False][0][0], prompt)
        comparison.equal(where, "text", row.text, sample["resps"][0][0])
        comparison.equal(where, "correct", float(row.correct), float(sample["exact_match"]))
    comparison.items = len({sample["doc"]["fineline_item"] for sample in samples})
    comparison.choices = len(samples)
    sizes = [result["samples"] for result in results]
    for key in results[0]["scores"]:
        if key.startswith("exact_match,"):
            theirs = sum(size * result["scores"][key] for size, result in zip(sizes, results)) / sum(sizes)
            filter = key.split(",")[1]
            comparison.metric(key, ours[f"exact_match,{named.get(filter, filter)}"], theirs)
    comparison.stderr = "clustered" if rows.cluster.notna().any() else None
    if comparison.stderr is None:
        key = next(key for key in results[0]["scores"] if key.startswith("exact_match_stderr,"))
        filter = key.split(",")[1]
        comparison.stderr = abs(
            ours[f"exact_match_stderr,{named.get(filter, filter)}"] - results[0]["scores"][key]
        )
        if comparison.stderr > TOLERANCE["stderr"]:
            comparison.problems.append(f"standard error of {key} differs by {comparison.stderr}")
    return comparison


def compare_full_prompt(args, name, lm, rows, ours, data):
    """OpenCompass's `HuggingFace._get_ppl` for one prompt: the sum of cross-entropies over the number of all
    tokens.
    """
    comparison = Comparison(name)
    lm.tokenizer.truncation_side = "left"
    records = jsonl(data)
    predictions, means = [], []
    for item, group in rows.groupby("item"):
        record, group = records[item], list(group.itertuples())
        scores = []
        for row, solution in zip(group, ("sol1", "sol2")):
            prompt = f"The following makes sense: \nQ: {record['goal']}\nA: {record[solution]}\n"
            ids = lm.tokenizer(prompt, truncation=True, max_length=lm.max_length, return_tensors="pt")[
                "input_ids"
            ]
            with torch.no_grad():
                logits = lm.model(ids).logits.float()
            loss = torch.nn.functional.cross_entropy(logits[0, :-1], ids[0, 1:], reduction="none")
            scores.append(loss.double().sum().item() / ids.shape[1])
            comparison.equal(f"item {item}", "tokens", row.n_tokens + 1, ids.shape[1])
            comparison.logprob(f"item {item}, choice {row.choice}", row.logprob, -loss.double().sum().item())
        predictions.append(float(scores.index(min(scores)) == record["label"]))
        means.append(scores[record["label"]])
    comparison.items = len(predictions)
    comparison.metric("acc", ours["acc,none"], sum(predictions) / len(predictions))
    comparison.metric("mean_ce", ours["mean_ce,none"], sum(means) / len(means))
    return comparison


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--wikitext", type=pathlib.Path, help="WikiText's test file, for the task wikitext")
    parser.add_argument(
        "--tasks", default=",".join([*TASKS, *WRITTEN, *FULL_PROMPT]), type=lambda text: text.split(",")
    )
    parser.add_argument("--limit", type=int)
    parser.add_argument(
        "--dtype",
        default="float32",
        help="data type of the harness; float64 shows the rounding errors of both",
    )
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="directory, whose content is deleted")
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
    parser.add_argument("--fineline", type=pathlib.Path, default=target / "fineline")
    parser.add_argument("--request-tokens", type=pathlib.Path, default=target / "examples/request_tokens")
    args = parser.parse_args()
    unknown = sorted(set(args.tasks) - {*TASKS, *WRITTEN, *FULL_PROMPT})
    if unknown:
        parser.error(f"no such task: {', '.join(unknown)}")
    if not args.wikitext:
        args.tasks = [task for task in args.tasks if task != "wikitext"]
    return args


def main():
    args = arguments()
    args.out = args.out.resolve()
    args.checkpoint = args.checkpoint.resolve()
    shutil.rmtree(args.out, ignore_errors=True)
    suite, data = prepare_suite(args)
    rows, ids, ours = run_fineline(args, suite)
    theirs = {
        name: write_tasks(args, name, data[name], rows[name].item.unique())
        for name in args.tasks
        if name not in FULL_PROMPT
    }
    lm = HFLM(
        pretrained=str(args.checkpoint),
        tokenizer=open_tokenizer(args.checkpoint),
        dtype=args.dtype,
        device="cpu",
        batch_size=args.batch_size,
    )
    manager = TaskManager(include_path=str(args.out / "lm_eval"))
    comparisons = []
    for name in args.tasks:
        if name in FULL_PROMPT:
            comparisons.append(compare_full_prompt(args, name, lm, rows[name], ours[name], data[name]))
            continue
        # With a BOS before the text, the harness would score a BOS after its BOS.
        lm.add_bos_token = False if name == "wikitext" else None
        run = lm_eval.simple_evaluate(
            lm, tasks=theirs[name], task_manager=manager, log_samples=True, bootstrap_iters=100
        )
        samples = [sample for task in theirs[name] for sample in run["samples"][task]]
        results = [
            {"samples": len(run["samples"][task]), "scores": run["results"][task]} for task in theirs[name]
        ]
        if name in WRITTEN:
            comparisons.append(compare_written(name, lm, rows[name], ids[name], ours[name], samples, results))
            continue
        clustered = rows[name].cluster.notna().any()
        comparisons.append(compare(name, lm, rows[name], ids[name], ours[name], samples, results, clustered))
    print(
        "| task | items | choices | largest difference of log-probabilities | fineline / harness "
        "| difference of acc's standard errors | |"
    )
    print("|---|---|---|---|---|---|---|")
    for comparison in comparisons:
        print("| " + " | ".join(map(str, comparison.row())) + " |")
    for comparison in comparisons:
        for problem in comparison.problems[:5]:
            print(f"{comparison.name}: {problem[:300]}", file=sys.stderr)
    sys.exit(any(comparison.problems for comparison in comparisons))


if __name__ == "__main__":
    main()
