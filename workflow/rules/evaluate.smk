"""A run's table, and the links to its stages."""


def row_steps(wildcards):
    """`stage-split` of each row of the table → its step and file."""
    step = step_of("evaluate", wildcards)
    names = [(f"{row.stage}-{row.split}", row.file) for row in step.settings.rows]
    return {name: (step.upstream[name], file) for name, file in names}


def plan_of(run):
    """The plan of a run, after a check that its inputs exist."""
    if run not in PLANS:
        sys.exit(f"no run '{run}' is configured; runs: {', '.join(PLANS)}")
    for place in (Path("results"), Path("results") / run):
        if os.path.lexists(place) and not place.is_dir():
            sys.exit(f"{place}: is no folder, or a broken link; move it away")
    try:
        problem = missing_inputs(PLANS[run], download=not workflow.dryrun)
    except OSError as error:  # of a name that is too long, or a folder that is closed
        problem = f"runs.{run}: {told(error)}"
    if problem:
        sys.exit(problem)
    STEPS.add(PLANS[run])
    return PLANS[run]


def of_run(label, file):
    """Input function: a file of a step of the run."""
    return lambda wildcards: ancient(
        f"{plan_of(wildcards.run).step(label).folder}/{file}"
    )


rule evaluate:
    input:
        data=upstream("evaluate", "data", "index.csv"),
        threshold=upstream("evaluate", "threshold", "threshold.json"),
        rows=lambda wildcards: [
            ancient(f"{step.folder}/{file}")
            for step, file in row_steps(wildcards).values()
        ],
    output:
        miou=ROOT + "/evaluate/{key}/miou.csv",
        curve=ROOT + "/evaluate/{key}/curve.csv",
        confusion=ROOT + "/evaluate/{key}/confusion.npz",
        summary=ROOT + "/evaluate/{key}/summary.json",
    log:
        ROOT + "/evaluate/{key}/log.txt",
    conda:
        ENVIRONMENT
    threads: HALF_OF_THE_CORES  # the table of what to check by eye is made beside it
    params:
        config=settings("evaluate"),
        manifest=manifest("evaluate"),
        data=subpath(input.data, parent=True),
        out=subpath(output.miou, parent=True),
        folders=lambda wildcards: json.dumps(
            {
                name: str(step.folder)
                for name, (step, _) in row_steps(wildcards).items()
            }
        ),
    shell:
        "{START} wsss.stages.evaluate --config {params.config:q} --manifest {params.manifest:q}"
        " --data {params.data:q} --threshold {input.threshold:q} --folders {params.folders:q}"
        " --out {params.out:q} --log {log:q} --threads {threads}"


rule collect:
    input:
        miou=of_run("evaluate", "miou.csv"),
        quality=of_run("quality", "quality.csv"),
        passed=lambda wildcards: passed(plan_of(wildcards.run)),
    output:
        table=report(
            "results/{run}/miou.csv",
            caption="../report/miou.rst",
            category="{run}",
            labels={"result": "table"},
        ),
        outline="results/{run}/run.json",
    log:
        "results/{run}/collect.log",
    conda:
        ENVIRONMENT
    params:
        outline=lambda wildcards: json.dumps(outline(plan_of(wildcards.run))),
        made_of=lambda wildcards: table_digest(plan_of(wildcards.run)),
        run=subpath(output.table, parent=True),
    shell:
        "{START} wsss.stages.collect --run {params.run:q} --outline {params.outline:q} --table {input.miou:q}"
        " --made-of {params.made_of:q} 2>&1 | tee {log:q}"
