#!/usr/bin/env python3
"""Trains with two builds of fineline and checks that both compute the same bytes.

    scripts/compare_builds.py OLD NEW --old-root CHECKOUT_OF_OLD [--new-root CHECKOUT_OF_NEW] [--full]

OLD and NEW are `fineline` binaries. Each trains the scenarios below with the configurations in `configs/` of
its own checkout, in a temporary directory with a cache of its own. For every scenario, the script compares:

    metrics.jsonl, probes.jsonl, events.jsonl   every field except times, sizes and texts
    items/*.parquet, representations/*.parquet  values by column
    representations/*.safetensors               tensors, byte for byte
    checkpoints/*                               weights and optimizer tensors, byte for byte; state.json
    run.json                                    fingerprints, parameter count
    data show, data stats                       token ids of the first and last step; counts

NEW also trains each scenario with interruptions: SIGTERM, then SIGKILL, each followed by the same command.
The result is compared with NEW's uninterrupted run.

Keys and fields that were renamed between the builds are listed in the tables below. A configuration key is
spelled as in the build's own JSON schema (`config reference --schema`).

The quick mode takes about 5 minutes on two cores. `--full` takes about an hour: it trains all steps of the
shipped configurations, and more scenarios. Parquet files are read with pyarrow. Without it, the script
refuses to start unless `--skip-parquet` is given. The exit code is 0 if nothing differs, 1 if something does,
and 2 for wrong arguments.
"""

import argparse
import hashlib
import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

try:
    import pyarrow.parquet
except ImportError:
    pyarrow = None

# Configuration keys: the name used in this script -> the name in earlier builds.
EARLIER_KEYS = {
    "train.global_batch_size": "train.global_batch",
    "train.micro_batch_size": "train.micro_batch",
    "data.cache_dir": "data.cache",
    "probes.limit": "probes.items",
    "guard.skip_steps": "guard.leave_out_steps",
    "guard.loss_spike": "guard.spike",
    "guard.grad_norm": "guard.gradient",
}

# Values of keys, tasks and log fields: the earlier one -> the later one.
RENAMED_VALUES = {
    "cloze": "greedy_match",
    "flat": "plateau",
    "falling": "regressing",
    "lower_lr": "reduce_lr",
    "spike": "loss_spike",
    "gradient": "grad_norm",
    "gradient_outlier": "grad_norm",
    "mirrored": "uploaded",
    "mirror_failed": "upload_failed",
    "mirror_superseded": "upload_superseded",
    "mirror_incomplete": "upload_incomplete",
    "fetched": "downloaded",
    "log_unwritable": "log_write_failed",
    "log_writable": "log_write_recovered",
    "damaged_checkpoint": "checkpoint_damaged",
    "checkpoint_late": "checkpoint_delayed",
    "epoch_began": "epoch_started",
    "probe_round": "evaluation_finished",
    "probes_skipped": "evaluation_skipped",
    "probe_failed": "evaluation_failed",
    "guard": "guard_triggered",
}

# Fields of the logs, of state.json and columns of the items: the earlier name -> the later one, by file.
RENAMED_FIELDS = {
    "probes.jsonl": {
        "mde": "min_detectable_effect",
        "headline": "primary_metric",
        "not_finite": "non_finite",
    },
    "events.jsonl": {
        "in_a_row": "consecutive",
        "of_step": "checkpoint_step",
        "left_out": "skipped_rows",
        "spent_share": "budget_used",
        "asked": "n_items",
        "items": "limit",
    },
    "state.json": {
        "detours": "skipped_rows",
        "skipped_in_a_row": "consecutive_skips",
        "lowered": "lr_reduction",
        "lowerings": "lr_reductions",
    },
}
RENAMED_EVENTS = {"skipped": "update_skipped"}

# Fields that depend on the machine, on the time, or on the spelling of names and texts.
IGNORED_FIELDS = {
    *["time", "seconds", "step_s", "data_wait_s", "tokens_per_s", "mfu", "blocked_s", "bytes", "budget_used"],
    *["schema", "config_hash", "path", "checkpoint", "message", "reason", "branch"],
}
COMPARED_IDENTITY = ["data_fingerprint", "tokenizer_fingerprint", "parameters", "ranks", "threads"]

SUITE = """
tasks = [
    "choices.toml", "cloze.toml", "text.toml", "prompts.toml", "suffixes.toml", "written.toml", "layers.toml",
]

[[groups]]
name = "both"
tasks = ["choices", "prompts"]
mean = "tasks"
"""

CHOICES = """
context = "The stone of {{place}} is"
choices = ["{{right}}", "{{wrong}}"]
gold = "gold"
cluster = "place"
"""

TEXT = "{{place}} has a {{right}} stone and a {{wrong}} river."

EXAMPLES = """
shots = 2
[examples]
data = "items.jsonl"
sampler = "random"
seed = 3
"""

WRITTEN = """
kind = "generation"
context = "The stone of {{place}} is"
answers = ["{{right}}"]
[generation]
until = ["."]
max_new_tokens = 8
temperature = 0.8
attempts = 2
f1 = true
"""

TASKS = {
    "choices": f'kind = "multiple_choice"\nunconditional = "It is"\n{CHOICES}{EXAMPLES}',
    "cloze": 'kind = "cloze"\ncontext = "The stone of {{place}} is"\nchoices = ["{{right}}"]',
    "text": f'kind = "perplexity"\nchoices = ["{TEXT}"]',
    "prompts": f'kind = "full_prompt_mean_ce"\n{CHOICES}',
    "suffixes": f'kind = "suffix_mean_ce"\n{CHOICES}',
    "written": WRITTEN,
    "layers": f'kind = "representation"\nchoices = ["{TEXT}"]',
}


@dataclass(frozen=True)
class Scenario:
    """One configuration with changes, which both builds train."""

    name: str
    config: str
    overrides: tuple = ()
    short: tuple = ()
    """Overrides of the quick mode: fewer steps, with probes and checkpoints at shorter intervals."""
    full_only: bool = False
    faults: str = ""
    """Value of FINELINE_FAULTS."""
    interrupted: bool = True


def shortened(steps, interval, *others):
    overrides = [
        f"train.steps={steps}",
        f"checkpoint.every_steps={interval}",
        f"probes[0].every_steps={interval}",
        "probes[0].limit=25",
        "tinyworld.documents=3000",
        "schedule.warmup_steps=10",
    ]
    return (*overrides, *others)


SHORT_QUICKSTART = shortened(60, 20, "validation.every_steps=30")
TWO_RANKS = ("distributed.ranks_per_process=2", "run.threads=1", "train.micro_batch_size=2")
TINY = shortened(40, 10, "validation.every_steps=20", "data.seq_len=64")

SCENARIOS = [
    Scenario("quickstart", "quickstart.toml", short=SHORT_QUICKSTART),
    Scenario(
        "amber-mini",
        "amber-mini.toml",
        short=shortened(50, 20, "data.chunks.count=6", "data.chunks.validation_rows=16"),
    ),
    Scenario("openllama-mini", "openllama-mini.toml", short=shortened(50, 20, "checkpoint.keep_every=20")),
    Scenario("two-ranks", "quickstart.toml", TWO_RANKS, SHORT_QUICKSTART),
    Scenario("two-ranks-zero1", "quickstart.toml", (*TINY, *TWO_RANKS, 'distributed.mode="zero1"')),
    Scenario(
        "two-ranks-deterministic",
        "quickstart.toml",
        (*TINY, *TWO_RANKS, "distributed.deterministic=true"),
        full_only=True,
    ),
    Scenario(
        "guard",
        "quickstart.toml",
        (*TINY, "guard.window=20", "guard.skip_steps=2", 'guard.non_finite.action="rewind"',
         'guard.loss_spike.action="skip_data"', 'guard.grad_norm.action="reduce_lr"', "log.digest=true"),
        faults="nan_loss@15,spike@28x100,gradient@34x100",
    ),
    Scenario("all-kinds", "quickstart.toml", (*TINY, 'probes[0].suite="SUITE"', "probes[0].limit=20")),
    Scenario("in-context", "quickstart.toml", (*TINY, 'probes[0].suite="in_context"', "train.steps=20")),
    Scenario(
        "representation",
        "quickstart.toml",
        (*TINY, 'probes[0].suite="representation"', "train.steps=20"),
        full_only=True,
    ),
]  # fmt: skip


class Build:
    """A binary, and the checkout whose configurations it is given."""

    def __init__(self, label, binary, root, seed=None):
        self.label = label
        self.binary = binary
        self.root = root
        self.seed = seed
        schema = json.loads(self.output("config", "reference", "--schema"))
        self.keys = set(schema_keys(schema, schema))

    def output(self, *arguments, cwd=None):
        command = [str(self.binary), *map(str, arguments)]
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            what = f"{self.label}: `{' '.join(command)}`"
            raise Failure(f"{what} failed with {done.returncode}:\n{done.stderr}")
        return done.stdout

    def spelled(self, key):
        """Returns the key as this build spells it, indices of lists kept."""
        section = re.sub(r"\[\d+\]", "", key)
        for later, earlier in EARLIER_KEYS.items():
            is_below = section == later or section.startswith(later + ".")
            if is_below and later not in self.keys and earlier in self.keys:
                old_leaf, new_leaf = earlier.rsplit(".", 1)[1], later.rsplit(".", 1)[1]
                return re.sub(rf"\b{new_leaf}\b", old_leaf, key)
        return key

    def is_later(self):
        return "train.global_batch_size" in self.keys

    def value(self, text):
        """Returns the value as this build spells it."""
        if not self.is_later():
            for earlier, later in RENAMED_VALUES.items():
                text = text.replace(f'"{later}"', f'"{earlier}"')
        return text

    def overrides(self, scenario, directory, run, full):
        settings = [f"run.dir={directory / run}", f"data.cache_dir={directory / 'cache'}"]
        settings += [*scenario.overrides] if full else [*scenario.short, *scenario.overrides]
        if self.seed is not None:
            settings.append(f"run.seed={self.seed}")
        arguments = []
        for setting in settings:
            key, value = setting.split("=", 1)
            value = value.replace("SUITE", str(directory / "suite.toml"))
            arguments += ["--set", f"{self.spelled(key)}={self.value(value)}"]
        return arguments

    def write_suite(self, directory):
        """Writes a suite with a task of each kind."""
        (directory / "suite.toml").write_text(SUITE)
        for name, text in TASKS.items():
            if self.is_later():
                text = text.replace('kind = "cloze"', 'kind = "greedy_match"')
            top = f'name = "{name}"\ndomain = "test"\ndata = "items.jsonl"\n'
            (directory / f"{name}.toml").write_text(top + text)
        words = ["red", "blue", "green", "old", "small", "grey", "wide"]
        records = []
        for index in range(30):
            right, wrong = words[index % 7], words[(index + 3) % 7]
            records.append({"place": f"Town {index // 2}", "right": right, "wrong": wrong, "gold": index % 2})
        (directory / "items.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def schema_keys(schema, root, prefix=""):
    """Yields the dotted names of all keys in a JSON schema."""
    for branch in [schema, *schema.get("anyOf", []), *schema.get("allOf", []), *schema.get("oneOf", [])]:
        while "$ref" in branch:
            branch = root["$defs"][branch["$ref"].rsplit("/", 1)[1]]
        if "items" in branch and isinstance(branch["items"], dict):
            yield from schema_keys(branch["items"], root, prefix)
        for name, value in branch.get("properties", {}).items():
            yield prefix + name
            yield from schema_keys(value, root, f"{prefix}{name}.")


class Failure(Exception):
    """A command that did not end as it should."""


@dataclass
class Training:
    """A scenario trained by a build."""

    build: Build
    scenario: Scenario
    directory: Path
    full: bool
    run: str
    seconds: float = 0.0
    starts: int = 0

    @property
    def path(self):
        return self.directory / self.run

    def arguments(self):
        config = self.build.root / "configs" / self.scenario.config
        return [str(config), *self.build.overrides(self.scenario, self.directory, self.run, self.full)]

    def start(self):
        env = {name: value for name, value in os.environ.items() if not name.startswith("FINELINE_")}
        if self.scenario.faults:
            env["FINELINE_FAULTS"] = self.scenario.faults
        self.starts += 1
        with open(self.directory / f"{self.run}.log", "ab") as log:
            command = [str(self.build.binary), "train", *self.arguments()]
            return subprocess.Popen(command, cwd=self.directory, env=env, stdout=log, stderr=log)

    def expect(self, job, code, what):
        found = job.wait()
        if found != code:
            log = (self.directory / f"{self.run}.log").read_text(errors="replace")
            tail = "\n".join(log.splitlines()[-20:])
            where = f"{self.build.label}, {self.scenario.name}"
            raise Failure(f"{where}: {what} ended with {found}, not {code}:\n{tail}")

    def last_step(self):
        """Returns the last logged step. A line that is not complete does not count."""
        try:
            lines = (self.path / "metrics.jsonl").read_bytes().split(b"\n")[:-1]
            return json.loads(lines[-1])["step"] if lines else 0
        except (FileNotFoundError, ValueError):
            return 0

    def train(self):
        started = time.monotonic()
        self.expect(self.start(), 0, "training")
        self.seconds = time.monotonic() - started

    def train_interrupted(self, steps):
        """Trains with a SIGTERM after a third of the steps and a SIGKILL after two thirds."""
        started = time.monotonic()
        for number, fraction, code in [(signal.SIGTERM, 1 / 3, 143), (signal.SIGKILL, 2 / 3, -9)]:
            before = self.last_step()
            job = self.start()
            while job.poll() is None and not max(before, 1) < self.last_step() >= steps * fraction:
                time.sleep(0.01)
            if job.poll() is not None:
                raise Failure(f"{self.build.label}, {self.scenario.name}: ended before it was interrupted")
            job.send_signal(number)
            self.expect(job, code, signal.Signals(number).name)
        self.expect(self.start(), 0, "the resumed run")
        self.seconds = time.monotonic() - started


# What a run leaves, in a form that can be compared.


def read_jsonl(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def normalized(value, file):
    """Returns a JSON value with the later names and without fields that are not compared."""
    names = RENAMED_FIELDS.get(file, {})
    if isinstance(value, dict):
        renamed = {name: names.get(name, RENAMED_VALUES.get(name, name)) for name in value}
        fields = {renamed[name]: entry for name, entry in value.items()}
        return {name: normalized(entry, file) for name, entry in fields.items() if name not in IGNORED_FIELDS}
    if isinstance(value, list):
        return [normalized(entry, file) for entry in value]
    if isinstance(value, str):
        name = Path(value).name if value.startswith("/") else value
        return RENAMED_VALUES.get(name, name)
    return value


def log(path):
    records = []
    for record in read_jsonl(path):
        # Stalls and delays depend on the load of the machine, not on what a build computes.
        if record.get("rule") == "stall" or record.get("event") in ("checkpoint_late", "checkpoint_delayed"):
            continue
        record = normalized(record, path.name)
        if "event" in record:
            record["event"] = RENAMED_EVENTS.get(record["event"], record["event"])
        records.append(record)
    return records


def tensors(path):
    """Returns the type, the shape and a hash of the bytes of every tensor in a safetensors file."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        data = file.read()
    found = {}
    for name, entry in header.items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            digest = hashlib.sha256(data[start:end]).hexdigest()
            found[name] = f"{entry['dtype']} {entry['shape']} {digest}"
    return found


def columns(path):
    table = pyarrow.parquet.read_table(path)
    names = RENAMED_FIELDS.get("items", {})
    return {
        names.get(name, name): [RENAMED_VALUES.get(value, value) for value in table[name].to_pylist()]
        for name in table.column_names
    }


def contents(training, parquet, checkpoints=None):
    """Returns everything that is compared of a run: name of the file -> value."""
    run = training.path
    found = {}
    for name in ["metrics.jsonl", "probes.jsonl", "digests.jsonl"]:
        if (run / name).exists():
            found[name] = log(run / name)
    identity = json.loads((run / "run.json").read_text())
    found["run.json"] = {name: identity.get(name) for name in COMPARED_IDENTITY}
    for path in sorted(run.glob("items/*.parquet")) + sorted(run.glob("representations/*.parquet")):
        found[str(path.relative_to(run))] = columns(path) if parquet else None
    for path in sorted(run.glob("representations/*.safetensors")):
        found[str(path.relative_to(run))] = tensors(path)
    for checkpoint in sorted(run.glob("checkpoints/*/")):
        if checkpoint.is_symlink() or (checkpoints is not None and checkpoint.name not in checkpoints):
            continue
        for path in sorted(checkpoint.glob("*.safetensors")):
            found[str(path.relative_to(run))] = tensors(path)
        state = json.loads((checkpoint / "state.json").read_text())
        found[str((checkpoint / "state.json").relative_to(run))] = normalized(state, "state.json")
    return found


def events(training):
    """Returns the events of a run."""
    return {"events.jsonl": log(training.path / "events.jsonl")}


def shown(training, steps):
    """Returns the token ids of the first and the last step, and the counts of the data."""
    build, found = training.build, {}
    for step in [1, steps]:
        page = build.output("data", "show", *training.arguments(), "--step", step, cwd=training.directory)
        found[f"data show --step {step}"] = re.findall(r"\[[\d, ]+\]", page)
    stats = build.output("data", "stats", *training.arguments(), "--json", cwd=training.directory)
    found["data stats"] = json.loads(stats)
    return found


def differences(old, new, where=""):
    """Yields a line for each place in which two values differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            place = f"{where}.{name}" if where else name
            if name not in new:
                yield f"{place}: only in the first ({short(old[name])})"
            elif name not in old:
                yield f"{place}: only in the second ({short(new[name])})"
            else:
                yield from differences(old[name], new[name], place)
    elif isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            yield f"{where}: {len(old)} and {len(new)} entries"
        for index, (first, second) in enumerate(zip(old, new)):
            yield from differences(first, second, f"{where}[{index}]")
    elif not same(old, new):
        yield f"{where}: {short(old)} and {short(new)}"


def same(old, new):
    both_nan = isinstance(old, float) and isinstance(new, float) and math.isnan(old) and math.isnan(new)
    return both_nan or (old == new and isinstance(old, bool) == isinstance(new, bool))


def short(value):
    text = json.dumps(value, default=str)
    return text if len(text) <= 100 else text[:97] + "..."


@dataclass
class Report:
    """The comparisons made so far."""

    shown_differences: int
    rows: list = field(default_factory=list)
    failed: bool = False

    def compare(self, scenario, what, old, new):
        """Compares two collections of files, and prints the first differences of each file."""
        total = 0
        for file in [*old, *(file for file in new if file not in old)]:
            if file not in old or file not in new:
                found = [f"{file}: only in the {'second' if file in new else 'first'}"]
            else:
                found = list(differences(old[file], new[file], file))
            total += len(found)
            for line in found[: self.shown_differences]:
                print(f"  {line}")
            if len(found) > self.shown_differences:
                print(f"  {file}: {len(found) - self.shown_differences} more")
        self.failed |= total > 0
        self.rows.append((scenario, what, len(old), sum(map(count, old.values())), total))
        print(f"{scenario}: {what}: {f'{total} differences' if total else 'equal'}", flush=True)

    def fail(self, scenario, what, error):
        self.failed = True
        self.rows.append((scenario, what, 0, 0, "failed"))
        print(f"{scenario}: {what}: {error}", flush=True)

    def table(self):
        header = ("scenario", "compared", "files", "values", "differences")
        rows = [header, *(tuple(map(str, row)) for row in self.rows)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
        return "\n".join(lines)


def count(value):
    if isinstance(value, dict):
        return sum(map(count, value.values()))
    if isinstance(value, list):
        return sum(map(count, value))
    return 1


def compare_scenario(scenario, options, report, place):
    trainings = []
    for build in [options.old, options.new]:
        directory = place / scenario.name / build.label
        directory.mkdir(parents=True)
        build.write_suite(directory)
        trainings.append(Training(build, scenario, directory, options.full, "run"))
    old, new = trainings
    old.train()
    new.train()
    print(f"{scenario.name}: trained in {old.seconds:.0f} s (old) and {new.seconds:.0f} s (new)", flush=True)
    parquet = not options.skip_parquet
    expected, found = (contents(run, parquet) | events(run) for run in (old, new))
    report.compare(scenario.name, "old and new", expected, found)
    steps = new.last_step()
    report.compare(scenario.name, "data", shown(old, steps), shown(new, steps))
    if scenario.interrupted and not options.no_resume:
        resumed = Training(new.build, scenario, new.directory, options.full, "resumed")
        resumed.train_interrupted(steps)
        final = {f"step-{steps:08}"}
        report.compare(
            scenario.name, "new, resumed", contents(new, parquet, final), contents(resumed, parquet, final)
        )
        print(f"{scenario.name}: resumed in {resumed.seconds:.0f} s, {resumed.starts} starts", flush=True)


def main():
    summary, description = __doc__.split("\n", 1)
    parser = argparse.ArgumentParser(
        description=summary, epilog=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    here = Path(__file__).resolve().parents[1]
    parser.add_argument("old", type=Path, metavar="OLD", help="binary of the earlier build")
    parser.add_argument("new", type=Path, metavar="NEW", help="binary of the later build")
    parser.add_argument("--old-root", type=Path, default=here, help="checkout of OLD (default: this one)")
    parser.add_argument("--new-root", type=Path, default=here, help="checkout of NEW (default: this one)")
    parser.add_argument("--full", action="store_true", help="all steps of the configurations, all scenarios")
    parser.add_argument("--only", help="scenarios to compare, separated by commas")
    parser.add_argument("--no-resume", action="store_true", help="skip the interrupted runs")
    parser.add_argument("--skip-parquet", action="store_true", help="compare no Parquet files")
    parser.add_argument("--new-seed", type=int, help="run.seed for NEW, to see the comparison fail")
    parser.add_argument("--differences", type=int, default=3, help="differences shown per file (default: 3)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work in this directory and keep it")
    options = parser.parse_args()
    if pyarrow is None and not options.skip_parquet:
        parser.error("pyarrow, which reads Parquet files, is missing: install it, or give --skip-parquet")
    try:
        options.old = Build("old", options.old.resolve(), options.old_root.resolve())
        options.new = Build("new", options.new.resolve(), options.new_root.resolve(), options.new_seed)
    except (OSError, Failure) as error:
        parser.error(str(error))
    scenarios = [scenario for scenario in SCENARIOS if options.full or not scenario.full_only]
    if options.only:
        names = options.only.split(",")
        unknown = [name for name in names if name not in {scenario.name for scenario in SCENARIOS}]
        if unknown:
            known = ", ".join(scenario.name for scenario in SCENARIOS)
            parser.error(f"no scenario {', '.join(unknown)}: expected some of {known}")
        scenarios = [scenario for scenario in SCENARIOS if scenario.name in names]
    if options.keep:
        options.keep.mkdir(parents=True)
        sys.exit(run(scenarios, options, options.keep.resolve()))
    with tempfile.TemporaryDirectory() as directory:
        sys.exit(run(scenarios, options, Path(directory)))


def run(scenarios, options, place):
    report = Report(options.differences)
    for scenario in scenarios:
        try:
            compare_scenario(scenario, options, report, place)
        except Failure as error:
            report.fail(scenario.name, "failed", error)
    print(f"\n{report.table()}")
    print("\nThe builds differ." if report.failed else "\nThe builds compute the same.")
    return 1 if report.failed else 0


if __name__ == "__main__":
    main()
