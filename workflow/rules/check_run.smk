"""Checks before a run computes: networks that cannot be built, missing masks."""


def check_of(wildcards):
    """The check with a digest, of a run or of a table's entry."""
    plans = [PLANS[wildcards.run]] if wildcards.run in PLANS else []
    plans += [entry.plan for entries in TABLES.values() for entry in entries]
    checks = (Check.of(plan, EXECUTION.processes) for plan in plans)
    return next(check for check in checks if check.digest == wildcards.digest)


def passed(plan):
    """The files written when a run's checks have passed."""
    digest = Check.of(plan, EXECUTION.processes).digest
    key = plan.step("prepare_data").key
    return [
        ancient(f"{ROOT}/checked/{plan.run}-{digest}.networks.json"),
        ancient(f"{ROOT}/checked/{plan.run}-{digest}-{key}.data.json"),
    ]


# Alone on the machine and first of all: Snakemake waits for jobs that run beside a failing check.
CHECK_FIRST = 1000
ALL_CORES = workflow.resource_settings.cores or 1


localrules:
    check_networks,
    check_data,


rule check_networks:
    output:
        ROOT + "/checked/{run}-{digest}.networks.json",
    log:
        ROOT + "/checked/{run}-{digest}.log",
    wildcard_constraints:
        digest=r"[0-9a-f]{16}",
    priority: CHECK_FIRST
    conda:
        ENVIRONMENT
    threads: ALL_CORES
    params:
        config=lambda wildcards: check_of(wildcards).text,
        where=lambda wildcards: check_of(wildcards).where,
        processes=EXECUTION.processes,
    shell:
        "{START} wsss.stages.check_run --where {params.where:q} --config {params.config:q}"
        " --processes {params.processes:q} --passed {output:q} 2>&1 | tee {log:q}"


rule check_data:
    input:
        lambda wildcards: ancient(f"{ROOT}/prepare_data/{wildcards.key}/index.csv"),
    output:
        ROOT + "/checked/{run}-{digest}-{key}.data.json",
    log:
        ROOT + "/checked/{run}-{digest}-{key}.log",
    wildcard_constraints:
        digest=r"[0-9a-f]{16}",
    priority: CHECK_FIRST
    conda:
        ENVIRONMENT
    threads: ALL_CORES
    params:
        config=lambda wildcards: check_of(wildcards).text,
        where=lambda wildcards: check_of(wildcards).where,
        data=subpath(input[0], parent=True),
    shell:
        "{START} wsss.stages.check_run --where {params.where:q} --config {params.config:q} --data {params.data:q}"
        " --passed {output:q} 2>&1 | tee {log:q}"
