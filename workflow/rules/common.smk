"""Look-ups that every rule shares: a step by its key, the folders of its inputs, its parameters."""

import inspect
import json
import os
import shlex
import sys
from pathlib import Path

# Jobs run the Python that runs Snakemake, whether or not its environment is activated.
os.environ["PATH"] = os.pathsep.join(
    [str(Path(sys.executable).parent), os.environ["PATH"]]
)
# Threads that wait must not keep the cores from other jobs; OpenMP reads this once, at its start.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Jobs run side by side on one terminal: lines from them, and bars from `wsss status`.
os.environ.setdefault("WSSS_NO_BAR", "1")
# Activations are freed and allocated again at every step; giving their memory back each time costs 15 % of a CPU training.
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(2**32))
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(2**32))

ROOT = "results/stages"
GPU_HERE = any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/kfd"))
ALL_PLANS = [
    *PLANS.values(),
    *(entry.plan for table in TABLES.values() for entry in table),
]
STEPS = {(step.stage, step.key): step for plan in ALL_PLANS for step in plan.steps}
EXECUTION = {
    (step.stage, step.key): plan.execution for plan in ALL_PLANS for step in plan.steps
}


wildcard_constraints:
    run=r"[^/]+",
    key=r"[0-9a-f]{16}",
    split=r"train|val",
    shard=r"\d+",
    n=r"\d+",


def by_key(find):
    """Decorator of functions of the wildcards: Snakemake inspects each again for each of thousands of jobs."""
    find.__signature__ = inspect.signature(find)
    return find


def upstream(stage, role, file):
    """Input function: `file` in the folder of the step that fills `role`; nothing if the role is empty."""

    @by_key
    def find(wildcards):
        step = STEPS[stage, wildcards.key].upstream.get(role)
        return f"{step.folder}/{file.format(**wildcards)}" if step else []

    return find


def weights(stage):
    """Input function: weight files that the step's settings name."""
    return by_key(
        lambda wildcards: [str(path) for path in STEPS[stage, wildcards.key].weights]
    )


def shards(stage, pattern):
    """Input function: the shards of a step's file."""

    @by_key
    def find(wildcards):
        count = EXECUTION[stage, wildcards.key].shards
        return [pattern.format(**wildcards, shard=i, n=count) for i in range(count)]

    return find


def settings(stage):
    """Param: the step's settings as JSON."""
    return by_key(lambda wildcards: json.dumps(STEPS[stage, wildcards.key].config))


def code(stage):
    """Param: digest of the code that the step runs, so that an edited algorithm runs again."""
    return by_key(lambda wildcards: STEPS[stage, wildcards.key].code)


def execution(stage, field):
    """Param that changes no result, e.g. the device."""
    return by_key(lambda wildcards: getattr(EXECUTION[stage, wildcards.key], field))


def gpu(stage):
    """Resource: GPUs of a job on this machine; cluster profiles ask for theirs with set-resources."""
    return by_key(
        lambda wildcards: int(
            GPU_HERE and EXECUTION[stage, wildcards.key].device != "cpu"
        )
    )


def crf_gpu(stage):
    """Resource: a GPU for a step whose DenseCRF can use one."""
    gpus = gpu(stage)

    @by_key
    def find(wildcards):
        crf = STEPS[stage, wildcards.key].config["crf"]
        return gpus(wildcards) if crf and crf["backend"] != "pydensecrf" else 0

    return find


def option(flag, value):
    """A command-line option, or nothing where its value is empty."""
    return f"{flag} {shlex.quote(str(value))}" if value else ""


def training_gpus(stage):
    """Resource: a GPU for each process of a training."""
    gpus = gpu(stage)
    return by_key(
        lambda wildcards: gpus(wildcards) * EXECUTION[stage, wildcards.key].processes
    )


# The path to the pseudo-labels goes before what is only measured.
WAITED_FOR = 1
HALF_OF_THE_CORES = max(1, min(4, (workflow.cores or 8) // 2))


def training_threads(stage):
    """Threads of a training, or of a stage that may have to run beside the upper bound's."""

    @by_key
    def find(wildcards):
        if not EXECUTION[stage, wildcards.key].upper_bound_beside:
            return 4
        labels = STEPS[stage, wildcards.key].config.get("labels")
        return 4 if labels == "pseudo_labels" else HALF_OF_THE_CORES

    return find


def launcher(stage):
    """Resource: what starts a training, torchrun if it has several processes."""

    @by_key
    def find(wildcards):
        count = EXECUTION[stage, wildcards.key].processes
        if count == 1:
            return "python -m"
        return f"TORCH_CPP_LOG_LEVEL=ERROR torchrun --standalone --nproc-per-node {count} -m --"

    return find


def training_flags(stage):
    """Resource: flags that change no result. Not a param, because switching one on must not train again."""

    @by_key
    def find(wildcards):
        chosen = EXECUTION[stage, wildcards.key]
        flags = {
            "--tensorboard": chosen.tensorboard,
            "--recompute": chosen.recompute_activations,
        }
        return " ".join(flag for flag, on in flags.items() if on)

    return find
