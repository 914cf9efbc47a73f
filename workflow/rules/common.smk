"""Functions shared by the rules: a step by its key, paths of its inputs, its parameters, what is out of date."""

import inspect
import json
import os
import shlex
import sys
from pathlib import Path

from snakemake.settings.enums import RerunTrigger

from wsss.config.registry import component_packages
from wsss.plan.code import source_digest
from wsss.plan.inputs import PLANNED
from wsss.plan.products import outdated
from wsss.runtime.gpus import gpu_possible
from wsss.runtime.process import let_threads_sleep
from wsss.runtime.start import SERVED, share_imports

# Jobs use Snakemake's Python, also if its environment is not activated.
os.environ["PATH"] = os.pathsep.join(
    [str(Path(sys.executable).parent), os.environ["PATH"]]
)
let_threads_sleep()
# Parallel jobs share one terminal: they print lines, and `wsss status` draws bars.
os.environ.setdefault("WSSS_NO_BAR", "1")
# Activations are freed and allocated at every step; returning the memory each time costs 15 % of the time on a CPU.
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(2**32))
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(2**32))

# Of a clone, for `--sdm conda`; an installed package has no source from which conda could make its environment.
CLONE = WORKFLOW.parent
ENVIRONMENT = (
    str(CLONE / "envs/wsss.yaml") if (CLONE / "pyproject.toml").is_file() else None
)
os.environ["WSSS_CLONE"] = str(CLONE)
# Jobs refuse other code than they were planned with.
os.environ[PLANNED] = source_digest(*component_packages())

# Programs share the import of their libraries where they all run in this environment on this machine.
START = "python -m wsss.runtime.start"
if workflow.is_main_process and not workflow.deployment_settings.deployment_method:
    share_imports()
else:
    os.environ.pop(SERVED, None)

ROOT = "results/stages"
GPU_HERE = EXECUTION.device != "cpu" and gpu_possible()


wildcard_constraints:
    run=r"[^/]+",
    key=r"[0-9a-f]{16}",
    split=r"train|val",
    shard=r"\d+",
    n=r"\d+",


def by_key(find):
    """Decorator of functions of the wildcards that caches their signature, which Snakemake inspects for every job."""
    find.__signature__ = inspect.signature(find)
    return find


def step_of(stage, wildcards):
    """The step with a key."""
    return STEPS[stage, wildcards.key]


def upstream(stage, role, file):
    """Input function: `file` in the folder of the upstream step of a role; empty if there is none.

    `ancient`, because keys and not file times determine what is out of date.
    """

    @by_key
    def find(wildcards):
        step = step_of(stage, wildcards).upstream.get(role)
        return ancient(f"{step.folder}/{file.format(**wildcards)}") if step else []

    return find


def walked_scores(wildcards):
    """Input function: the maps from which a refinement starts."""
    step = step_of("refine_cam", wildcards)
    suffix = "_strided" if step.config.get("start") == "strided" else ""
    return ancient(f"{step.upstream['scores'].folder}/{wildcards.split}{suffix}.h5")


def settings(stage):
    """Param: the step's settings as JSON."""
    return by_key(lambda wildcards: step_of(stage, wildcards).texts[0])


def manifest(stage):
    """Param: the step's manifest as JSON."""
    return by_key(lambda wildcards: step_of(stage, wildcards).texts[1])


def option(flag, value):
    """A command-line option; empty if its value is empty."""
    return f"{flag} {shlex.quote(str(value))}" if value else ""


def given(*roles):
    """Param: an option `--ROLE FILE` for each of these inputs that the step has."""

    @by_key
    def find(wildcards, input):
        return " ".join(option(f"--{role}", input.get(role)) for role in roles)

    return find


def stored_features(wildcards, input):
    """Param: the option with the folder of stored features; empty if the stage runs on the images."""
    file = input.get("features")
    return option("--features", file and Path(file).parent)


def crf_gpu(stage):
    """Resource: a GPU for a step whose DenseCRF can use one."""

    @by_key
    def find(wildcards):
        crf = step_of(stage, wildcards).config.get("crf")
        return int(GPU_HERE and bool(crf) and crf["backend"] != "pydensecrf")

    return find


# Jobs on the path to the pseudo-labels go before those for evaluation only, and what no other stage reads goes last.
WAITED_FOR = 1
READ_BY_NO_STAGE = -1
HALF_OF_THE_CORES = max(1, min(4, (workflow.resource_settings.cores or 8) // 2))


def training_threads(stage):
    """Threads of a training run, or of a stage that may run beside the upper bound."""

    @by_key
    def find(wildcards):
        if not EXECUTION.upper_bound_beside:
            return 4
        labels = step_of(stage, wildcards).config.get("labels")
        return 4 if labels == "pseudo_labels" else HALF_OF_THE_CORES

    return find


# The launcher of training programs: torchrun for several processes.
LAUNCHER = (
    START
    if EXECUTION.processes == 1
    else f"TORCH_CPP_LOG_LEVEL=ERROR torchrun --standalone --nproc-per-node {EXECUTION.processes} -m --"
)
TRAINING_FLAGS = " ".join(
    [
        f"--checkpoint-seconds {EXECUTION.checkpoint_seconds}",
        option(
            "--workers", None if EXECUTION.workers is None else str(EXECUTION.workers)
        ),
        "--tensorboard" if EXECUTION.tensorboard else "",
        "--recompute" if EXECUTION.recompute_activations else "",
    ]
)


def is_finished(maker, wildcards):
    """Whether all outputs of a keyed job are there, none of them cut short."""
    files = [file.apply_wildcards(wildcards) for file in maker.output]
    records = workflow.persistence
    begun = records._filter_incomplete_keys(map(records._get_key, files))
    return not begun and all(Path(file).exists() for file in files)


# Stands for an input that is gone and that nothing reads.
NOT_NEEDED = ancient(f"{WORKFLOW}/rules/common.smk")


def needed_by(maker, find):
    """Input function: the files of another one; those that are gone are left out for a finished job.

    Snakemake would make them again, and then all that follows from them, under keys that are there.
    """

    @by_key
    def found(wildcards):
        files = find(wildcards)
        if not is_finished(maker, wildcards):
            return files
        several = isinstance(files, list)
        there = [
            file if Path(file).exists() else NOT_NEEDED
            for file in (files if several else [files])
        ]
        return there if several else there[0]

    return found


class Keyed(type(workflow)):
    """Snakemake's workflow, in which keys determine what is out of date.

    Results with a name instead of a key store a digest of their inputs. Snakemake assigns `dag_settings`, which hold
    the targets, after it has read all rules.
    """

    def __setattr__(self, name, value):
        if name == "dag_settings":
            value.rerun_triggers = frozenset({RerunTrigger.MTIME})
            if not (value.forcerun or value.forceall or value.forcetargets):
                self.leave_finished()
            self.made_again = outdated(value.targets, PLANS, TABLES, COMPARED)
            value.forcerun = value.forcerun | self.made_again
        super().__setattr__(name, value)

    def leave_finished(self):
        """Makes finished jobs need nothing that is gone."""
        for maker in self.rules:
            if "key" in maker.wildcard_names:
                for i, find in enumerate(maker.input):
                    if callable(find):
                        maker.input[i] = needed_by(maker, find)
                for name, (start, end) in maker.input._names.items():
                    maker.input._set_name(name, start, end)


workflow.__class__ = Keyed
