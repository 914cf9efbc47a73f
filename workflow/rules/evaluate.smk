"""A run's table, and the links to its stages."""


def row_steps(wildcards):
    """`stage-split` of each row of the table → its step and file."""
    step = STEPS["evaluate", wildcards.key]
    names = [
        (f"{row['stage']}-{row['split']}", row["file"]) for row in step.config["rows"]
    ]
    return {name: (step.upstream[name], file) for name, file in names}


def plan_of(run):
    """The plan of a run that can start; else one line on what is missing."""
    if run not in PLANS:
        sys.exit(f"no run '{run}' in config.yaml; runs: {', '.join(PLANS)}")
    problem = missing_inputs(PLANS[run])
    if problem:
        sys.exit(problem)
    return PLANS[run]


rule evaluate:
    input:
        data=upstream("evaluate", "data", "index.csv"),
        threshold=upstream("evaluate", "threshold", "threshold.json"),
        quality=upstream("evaluate", "quality", "quality.csv"),
        rows=lambda wildcards: [
            f"{step.folder}/{file}" for step, file in row_steps(wildcards).values()
        ],
    output:
        miou=ROOT + "/evaluate/{key}/miou.csv",
        curve=ROOT + "/evaluate/{key}/curve.csv",
        confusion=ROOT + "/evaluate/{key}/confusion.npz",
        summary=ROOT + "/evaluate/{key}/summary.json",
    log:
        ROOT + "/evaluate/{key}/log.txt",
    conda:
        "../../envs/wsss.yaml"
    threads: 4
    params:
        config=settings("evaluate"),
        code=code("evaluate"),
        data=subpath(input.data, parent=True),
        out=subpath(output.miou, parent=True),
        threshold=lambda wildcards, input: option("--threshold", input.get("threshold")),
        folders=lambda wildcards: json.dumps(
            {
                name: str(step.folder)
                for name, (step, _) in row_steps(wildcards).items()
            }
        ),
    shell:
        "python -m wsss.stages.evaluate --config {params.config:q} --code {params.code:q} --data {params.data:q}"
        " {params.threshold} --folders {params.folders:q} --out {params.out:q} --log {log:q} --threads {threads}"


rule collect:
    input:
        lambda wildcards: f"{plan_of(wildcards.run).steps[-1].folder}/miou.csv",
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
        "../../envs/wsss.yaml"
    params:
        outline=lambda wildcards: json.dumps(outline(plan_of(wildcards.run))),
        run=subpath(output.table, parent=True),
    shell:
        "python -m wsss.stages.collect --run {params.run:q} --outline {params.outline:q} --table {input:q}"
        " 2> {log:q}"
