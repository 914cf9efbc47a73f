"""Image-level labels to masks: `snakemake --cores 8 results/{run}/miou.csv` for a run of config.yaml."""

import sys
from pathlib import Path

from snakemake.utils import min_version

from wsss.config.loading import ConfigError
from wsss.plan.code import code_digest
from wsss.plan.outline import outline
from wsss.plan.run import missing_inputs, plan_runs
from wsss.report.page import templates_digest
from wsss.plan.tables import plan_tables

min_version("9.0")


configfile: "config.yaml"


try:
    PRESETS = Path(workflow.basedir) / "workflow" / "presets"
    PLANS = plan_runs(config, PRESETS)
    TABLES = plan_tables(config, PRESETS)
except ConfigError as error:
    sys.exit(str(error))


include: "workflow/rules/common.smk"
include: "workflow/rules/prepare_data.smk"
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
