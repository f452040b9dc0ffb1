#!/usr/bin/env python3
"""Compares fineline's requests for the task files of lm-evaluation-harness 0.4.13 with those of the harness.

    cargo build --release -p fineline-probe -p fineline --example request_tokens
    HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 python scripts/parity/lm_eval_task_files.py CHECKPOINT \\
        --data EVAL --wikitext TEST.txt --out /tmp/task-files --limit 40

CHECKPOINT is a Hugging Face LLaMA directory, of which only the tokenizer is used; EVAL is the directory of
benchmarks. fineline reads each installed file unchanged, and finds its data by the name in the file. For
other numbers of examples, a file of two lines includes it. The harness reads the same file, changed only in
the location of the data. For every item, the script compares the prompt with its examples, which also
requires the same random draws; for every choice, the token ids of context and continuation; and which
choices or answers are right. Prints a table. The exit code is 1 if anything differs.
"""

import argparse
import collections
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import yaml
from lm_eval.tasks import TaskManager
from lm_eval_parity import ROOT, STOCK, ceval, read_directory, harness_ids, jsonl, open_tokenizer, race
from lm_eval.models.huggingface import HFLM


def answered(record):
    """Joins the parts of LAMBADA's text."""
    return {"text": f"{record['context']} {record['continuation']}"}


def pages(path):
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    starts = [i for i, line in enumerate(lines) if re.fullmatch(r" = [^=].* = \n", line)] + [len(lines)]
    return [
        {"page": "".join(lines[start:end]).replace("<unk>", "unk")} for start, end in zip(starts, starts[1:])
    ]


def several(number):
    """Generates questions with several true answers, with the fields of TruthfulQA."""
    choices = [f"answer {number}-{i}" for i in range(3 + number % 3)]
    labels = [1] * (1 + number % 3) + [0] * (len(choices) - 1 - number % 3)
    return {
        "question": f"What is {number}?",
        "mc1_targets": {"choices": choices, "labels": [1] + [0] * (len(choices) - 1)},
        "mc2_targets": {"choices": choices, "labels": labels},
    }


# Generated records for task files whose data is not available, with their fields.
MADE_UP = {
    "copa": lambda i: {
        "premise": f"The man counted to {i}. ",
        "choice1": "He Was bored.",
        "choice2": "Éve asked him.",
        "question": ["cause", "effect"][i % 2],
        "label": i % 2,
    },
    "wsc": lambda i: {
        "text": f"Ann ( {i} ) told Bo that she did n't know .",
        "span1_text": "Ann",
        "span2_text": "she",
        "span2_index": 7,
        "label": i % 2,
    },
    "cb": lambda i: {"premise": f"It rained {i} times.", "hypothesis": "It rained", "label": i % 3},
    "multirc": lambda i: {
        "paragraph": f"Paragraph {i}.",
        "question": "Who?",
        "answer": f'The "man" of {i}',
        "label": i % 2,
    },
    "openbookqa": lambda i: {
        "question_stem": f"{i} is less than",
        "choices": {"text": [str(i + k) + " it's" for k in range(4)], "label": list("ABCD")},
        "answerKey": " " + "ABCD"[i % 4],
    },
    "social_iqa": lambda i: {
        "context": f"Alex walked {i} miles.",
        "question": "Why?",
        "answerA": "a",
        "answerB": "b c",
        "answerC": f"{i}",
        "label": str(i % 3 + 1),
    },
    "storycloze": lambda i: (
        {f"input_sentence_{k}": f"Sentence {k} of {i}." for k in range(1, 5)}
        | {"sentence_quiz1": "The end.", "sentence_quiz2": "No end.", "answer_right_ending": i % 2 + 1}
    ),
    "truthfulqa": several,
}


def made_up(name):
    return [MADE_UP[name](number) for number in range(200)]


def sources(args):
    """Yields, for each group of task files: the files, the numbers of examples, and the records for a
    `dataset_name`.
    """
    hf = lambda name: jsonl(args.data / "hf" / name)
    mmlu = lambda name: lambda config: [r for r in hf(name) if r["subject"] == config]
    of_subject = lambda path, convert=dict: (
        lambda config: [convert(r) for r in read_directory(args.data / path) if r["file"] == config]
    )
    label = lambda record: record | {"label": int(record["answer"])}
    math = lambda config: [r for r in jsonl(args.data / "math/test.jsonl") if r["type"] == "Algebra"]
    bbh = lambda config: json.loads((args.data / f"bbh/bbh/{config}.json").read_text())["examples"]
    always = lambda records: lambda config: records
    return [
        (["arc/arc_easy.yaml"], [0, 5], always(hf("ai2_arc__ARC-Easy.validation.jsonl"))),
        (["arc/arc_challenge.yaml"], [0, 25], always(hf("ai2_arc__ARC-Challenge.validation.jsonl"))),
        (["hellaswag/hellaswag.yaml"], [0, 10], always(hf("hellaswag.validation.jsonl"))),
        (["winogrande/default.yaml"], [0, 5], always(hf("winogrande__winogrande_xl.validation.jsonl"))),
        (["piqa/piqa.yaml"], [0, 5], always(hf("piqa.validation.jsonl"))),
        (["super_glue/boolq/default.yaml"], [0, 5], always([label(r) for r in hf("boolq.validation.jsonl")])),
        (["commonsense_qa/default.yaml"], [0, 7], always(hf("tau__commonsense_qa.validation.jsonl"))),
        (["race/race.yaml"], [0, 2], always([race(r) for r in jsonl(args.data / "race/race_1000.jsonl")])),
        (
            ["lambada/lambada_openai.yaml", "lambada/lambada_standard.yaml"],
            [0, 5],
            always([answered(r) for r in jsonl(args.data / "lambada/lambada_openai.jsonl")]),
        ),
        (["wikitext/wikitext.yaml"], [0], always(pages(args.wikitext))),
        (
            ["mmlu/default/_mmlu_stem.yaml", "mmlu/continuation/mmlu_anatomy.yaml"],
            [0, 5],
            mmlu("mmlu.test.jsonl"),
        ),
        (["cmmlu/cmmlu_anatomy.yaml", "cmmlu/cmmlu_virology.yaml"], [0, 5], of_subject("cmmlu/test")),
        (["ceval/ceval-valid_law.yaml"], [0, 5], of_subject("ceval/val", ceval)),
        (
            ["truthfulqa/truthfulqa_mc1.yaml", "truthfulqa/truthfulqa_mc2.yaml"],
            [0],
            always(made_up("truthfulqa")),
        ),
        (["super_glue/copa/default.yaml"], [0, 5], always(made_up("copa"))),
        (["super_glue/wsc/default.yaml"], [0, 5], always(made_up("wsc"))),
        (["super_glue/cb/default.yaml"], [0, 5], always(made_up("cb"))),
        (["super_glue/multirc/default.yaml"], [0, 3], always(made_up("multirc"))),
        (["openbookqa/openbookqa.yaml"], [0, 5], always(made_up("openbookqa"))),
        (["siqa/siqa.yaml"], [0, 5], always(made_up("social_iqa"))),
        (["storycloze/storycloze_2016.yaml"], [0, 5], always(made_up("storycloze"))),
        (
            ["gsm8k/gsm8k.yaml", "gsm8k/gsm8k-cot.yaml"],
            [None, 0],
            always(jsonl(args.data / "gsm8k/test.jsonl")),
        ),
        (["nq_open/nq_open.yaml"], [0, 5], always(hf("nq_open.validation.jsonl"))),
        (["triviaqa/default.yaml"], [0, 5], always(hf("trivia_qa__rc.wikipedia.nocontext.validation.jsonl"))),
        (["hendrycks_math/hendrycks_math_algebra.yaml"], [0, 4], math),
        (
            [
                "bbh/cot_fewshot/boolean_expressions.yaml",
                "bbh/cot_fewshot/word_sorting.yaml",
                "bbh/fewshot/navigate.yaml",
            ],
            [None],
            bbh,
        ),
    ]


def leaves(manager, path):
    """Returns name and fields of each task of a task or group file, without loading functions."""
    from lm_eval.tasks._index import TaskIndex
    from lm_eval.tasks._yaml_loader import load_yaml

    fields = load_yaml(path, resolve_func=False)
    if "group" not in fields:
        return [(fields["task"], path, fields)]
    found = []
    for name in fields["task"]:
        entry = manager._entry(name)
        names = sorted(entry.tags) if entry.yaml_path is None else [name]
        for name in names:
            found += leaves(manager, manager._entry(name).yaml_path)
    return found


def write(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def write_data(args, fields, records):
    """Writes the splits of a dataset under the names that `fineline data fetch` gives them."""
    base = (
        args.out
        / "data"
        / fields["dataset_path"].replace("/", "__")
        / (fields.get("dataset_name") or "default")
    )
    fewshot = (fields.get("fewshot_config") or {}).get("split")
    names = [
        fields.get(key) for key in ("test_split", "validation_split", "training_split", "fewshot_split")
    ] + [fewshot]
    names = [name for name in dict.fromkeys(names) if name]
    # Every split has other records. The evaluated one has as many as are compared.
    files, at = {}, 0
    for place, name in enumerate(names):
        count = args.limit if place == 0 else 60
        files[name] = write(base / f"{name}.jsonl", records[at : at + count])
        at += count if len(records) > at + count + 60 else 0
    return files


def harness_task(args, path, name, fields, files, shots):
    config = {
        "include": str(path),
        "task": name,
        "tag": [],
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": files},
    }
    config |= {} if shots is None else {"num_fewshot": shots}
    where = args.out / "lm_eval" / f"{name}-{shots}.yaml"
    where.parent.mkdir(exist_ok=True)
    where.write_text(yaml.safe_dump(config))
    task = TaskManager(include_defaults=False).load([str(where)])["tasks"][name]
    task.set_fewshot_seed(1234)
    task.build_all_requests()
    return task


def asked(args, path):
    command = [args.request_tokens, args.checkpoint, path, args.out / "data"]
    lines = subprocess.run(
        list(map(str, command)), check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True
    ).stdout.splitlines()
    tasks = collections.defaultdict(lambda: collections.defaultdict(list))
    for line in map(json.loads, lines):
        tasks[line["task"]][line["item"]].append(line)
    return tasks


def right(task, doc):
    """Returns the right choices or answers in fineline's form."""
    if task.OUTPUT_TYPE != "multiple_choice":
        return None
    if task.config.process_results is not None:
        return [i for i, label in enumerate(doc["mc2_targets"]["labels"]) if label == 1]
    gold = task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc)
    choices = task.doc_to_choice(doc)
    return [
        choices.index(g) if isinstance(g, str) else int(g)
        for g in (gold if isinstance(gold, list) else [gold])
    ]


def answers(task, doc):
    target = task.doc_to_target(doc)
    if task.config.doc_to_choice is not None:
        return [task.doc_to_choice(doc)[target]]
    return list(map(str, target)) if isinstance(target, list) else [str(target)]


def differences(task, lm, ours):
    by_item = collections.defaultdict(list)
    for instance in task.instances:
        by_item[instance.doc_id].append(instance)
    if by_item.keys() != ours.keys():
        yield f"{len(ours)} items, expected {len(by_item)}"
        return
    for item, instances in by_item.items():
        doc, lines = (
            instances[0].doc,
            sorted(ours[item], key=lambda line: (line["unconditional"], line["choice"])),
        )
        if task.OUTPUT_TYPE == "generate_until":
            if lines[0]["context"] != instances[0].arguments[0]:
                yield f"item {item}: prompt {lines[0]['context']!r}, expected {instances[0].arguments[0]!r}"
            if lines[0]["answers"] != answers(task, doc):
                yield f"item {item}: answers {lines[0]['answers']}, expected {answers(task, doc)}"
            continue
        if task.OUTPUT_TYPE == "loglikelihood_rolling":
            tokens = [token for line in ours[item] for token in line["continuation_ids"]]
            if tokens != lm.tok_encode(instances[0].arguments[0], add_special_tokens=False):
                yield f"item {item}: other token ids"
            continue
        if len(lines) != len(instances):
            yield f"item {item}: {len(lines)} choices, expected {len(instances)}"
            continue
        if right(task, doc) not in (None, lines[0]["right"]):
            yield f"item {item}: right are {lines[0]['right']}, expected {right(task, doc)}"
        for line, instance in zip(lines, instances):
            ids = tuple(map(list, harness_ids(lm, instance.arguments)))
            if (line["context_ids"], line["continuation_ids"]) != ids:
                found = f"item {item}, choice {line['choice']}: {line['context']!r}"
                yield f"{found}, expected {instance.arguments!r}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--wikitext", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--limit", type=int, default=40)
    parser.add_argument("--only", help="task files with this in their path")
    parser.add_argument(
        "--request-tokens",
        type=pathlib.Path,
        default=pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        / "release/examples/request_tokens",
    )
    args = parser.parse_args()
    args.checkpoint = args.checkpoint.resolve()
    shutil.rmtree(args.out, ignore_errors=True)
    args.out.mkdir(parents=True)
    lm = HFLM(
        pretrained=str(args.checkpoint),
        tokenizer=open_tokenizer(args.checkpoint),
        dtype="float32",
        device="cpu",
    )
    manager = TaskManager()
    failed = False
    print("| task file | tasks | examples | items | |\n|---|---|---|---|---|")
    for paths, counts, records in sources(args):
        for path in paths:
            if args.only and args.only not in path:
                continue
            tasks = leaves(manager, STOCK / path)
            files = {
                name: write_data(args, fields, records(fields.get("dataset_name")))
                for name, _, fields in tasks
            }
            for shots in counts:
                suite = STOCK / path
                if shots is not None:
                    suite = args.out / "fineline" / f"{path.replace('/', '-')}-{shots}.yaml"
                    suite.parent.mkdir(exist_ok=True)
                    own = {"include": str(STOCK / path), "num_fewshot": shots}
                    suite.write_text(yaml.safe_dump(own))
                    if len(tasks) > 1:
                        suite = STOCK / path
                ours = asked(args, suite)
                problems, items = [], 0
                for name, leaf, fields in tasks:
                    # A group is read unchanged, with the numbers of examples of its tasks.
                    task = harness_task(
                        args, leaf, name, fields, files[name], None if len(tasks) > 1 else shots
                    )
                    lm.add_bos_token = None
                    problems += [f"{name}: {problem}" for problem in differences(task, lm, ours[name])]
                    items += len(ours[name])
                verdict = "equal" if not problems else f"**{len(problems)} differ**"
                examples = "default" if shots is None or len(tasks) > 1 else shots
                print(f"| {path} | {len(tasks)} | {examples} | {items} | {verdict} |", flush=True)
                for problem in problems[:3]:
                    print(problem[:1500], file=sys.stderr)
                failed = failed or bool(problems)
                if len(tasks) > 1:
                    break
    sys.exit(failed)


if __name__ == "__main__":
    main()
