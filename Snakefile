"""Image-level labels to masks: `snakemake --cores 8 results/{run}/miou.csv` for a run of config.yaml."""

import sys
from pathlib import Path

from snakemake.settings.enums import RerunTrigger
from snakemake.utils import min_version

from wsss.config.loading import ConfigError, compared_runs, load_execution
from wsss.plan.checks import Check
from wsss.plan.outline import outline
from wsss.plan.products import (
    affinity_map_digest,
    comparison_digest,
    entries_digest,
    outdated,
    report_digest,
    table_digest,
)
from wsss.plan.run import missing_inputs, plan_runs
from wsss.plan.steps import StepIndex
from wsss.plan.tables import plan_tables

min_version("9.0")


configfile: "config.yaml"


try:
    PRESETS = Path(workflow.basedir) / "workflow" / "presets"
    EXECUTION = load_execution(config)
    PLANS = plan_runs(config, PRESETS)
    TABLES = plan_tables(config, PRESETS)
except ConfigError as error:
    sys.exit(str(error))
STEPS = StepIndex(PLANS, TABLES)

# Keys alone say what is out of date, and products that bear a name instead of a key record what they were made of.
if workflow.dag_settings is not None:
    workflow.dag_settings.rerun_triggers = frozenset({RerunTrigger.MTIME})
    workflow.dag_settings.forcerun = workflow.dag_settings.forcerun | outdated(
        workflow.dag_settings.targets, PLANS, TABLES, compared_runs(config)
    )


include: "workflow/rules/common.smk"
include: "workflow/rules/check_run.smk"
include: "workflow/rules/prepare_data.smk"
include: "workflow/rules/compute_features.smk"
include: "workflow/rules/train_classifier.smk"
include: "workflow/rules/infer_cam.smk"
include: "workflow/rules/choose_threshold.smk"
include: "workflow/rules/make_affinity_labels.smk"
include: "workflow/rules/train_affinity.smk"
include: "workflow/rules/refine_cam.smk"
include: "workflow/rules/make_pseudo_labels.smk"
include: "workflow/rules/train_segmentation.smk"
include: "workflow/rules/segment.smk"
include: "workflow/rules/quality.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/affinity_map.smk"
include: "workflow/rules/tables.smk"
