"""Image-level labels to masks: `snakemake --cores 8 results/{run}/miou.csv` for a run of config.yaml."""

import sys
from pathlib import Path

from snakemake.utils import min_version

from wsss.config.loading import (
    WORKFLOW,
    ConfigError,
    compared_runs,
    load_execution,
    read_config,
)
from wsss.plan.checks import Check
from wsss.plan.outline import outline
from wsss.plan.products import (
    affinity_map_digest,
    comparison_digest,
    entries_digest,
    report_digest,
    table_digest,
)
from wsss.plan.run import missing_inputs, plan_runs
from wsss.plan.steps import StepIndex
from wsss.plan.tables import checked_plans, plan_tables
from wsss.runtime.ending import told

min_version("9.0")


configfile: "config.yaml"


try:
    # Reports repeated keys, of which Snakemake itself silently takes the last.
    for file in workflow.configfiles:
        read_config(Path(file))
    EXECUTION = load_execution(config)
    PLANS = plan_runs(config)
    TABLES = plan_tables(config)
    COMPARED = compared_runs(config)
except (ConfigError, OSError) as error:
    sys.exit(told(error))
STEPS = StepIndex(PLANS, TABLES)


rule which_result:
    default_target: True
    input:
        lambda wildcards: sys.exit(
            f"which result? snakemake --cores 8 results/RUN/miou.csv; runs: {', '.join(PLANS)}"
        ),


include: f"{WORKFLOW}/rules/common.smk"
include: f"{WORKFLOW}/rules/check_run.smk"
include: f"{WORKFLOW}/rules/merge.smk"
include: f"{WORKFLOW}/rules/prepare_data.smk"
include: f"{WORKFLOW}/rules/compute_features.smk"
include: f"{WORKFLOW}/rules/train_classifier.smk"
include: f"{WORKFLOW}/rules/infer_cam.smk"
include: f"{WORKFLOW}/rules/choose_threshold.smk"
include: f"{WORKFLOW}/rules/make_affinity_labels.smk"
include: f"{WORKFLOW}/rules/train_affinity.smk"
include: f"{WORKFLOW}/rules/refine_cam.smk"
include: f"{WORKFLOW}/rules/make_pseudo_labels.smk"
include: f"{WORKFLOW}/rules/corrections.smk"
include: f"{WORKFLOW}/rules/train_segmentation.smk"
include: f"{WORKFLOW}/rules/segment.smk"
include: f"{WORKFLOW}/rules/quality.smk"
include: f"{WORKFLOW}/rules/evaluate.smk"
include: f"{WORKFLOW}/rules/report.smk"
include: f"{WORKFLOW}/rules/affinity_map.smk"
include: f"{WORKFLOW}/rules/tables.smk"
