"""A run's page and figures, and the page that compares runs."""


def collected(run, name):
    """A file of a run's table; only one that is made again counts as newer, as a copy has times of its own."""
    file = f"results/{run}/{name}"
    return file if f"results/{run}/miou.csv" in workflow.made_again else ancient(file)


def evaluated(run):
    """Inputs of a run's report beside its table: the evaluated maps, and the evaluation."""
    step = plan_of(run).step("evaluate")
    sources = [
        (step.upstream[f"{row.stage}-{row.split}"].folder, row.file)
        for row in step.settings.rows
    ]
    files = {f"{folder}/{file}" for folder, file in sources}
    names = ("curve.csv", "confusion.npz", "summary.json")
    return [
        ancient(file)
        for file in (*sorted(files), *(f"{step.folder}/{name}" for name in names))
    ]


def compared():
    """Names of the runs in `--config compare=a,b`."""
    if not COMPARED:
        sys.exit(
            "which runs? snakemake results/compare.html --config compare=a,b; "
            f"runs: {', '.join(PLANS)}"
        )
    return [plan_of(name).run for name in COMPARED]


rule report:
    input:
        table=lambda wildcards: collected(wildcards.run, "miou.csv"),
        outline=lambda wildcards: collected(wildcards.run, "run.json"),
        maps=lambda wildcards: evaluated(wildcards.run),
    output:
        page=report(
            "results/{run}/report.html",
            caption="../report/report.rst",
            category="{run}",
            labels={"result": "report"},
        ),
        figures=report(
            directory("results/{run}/figures"),
            patterns=["{name}.png"],
            caption="../report/figures.rst",
            category="{run}",
            labels={"result": "{name}"},
        ),
    log:
        "results/{run}/report.log",
    conda:
        ENVIRONMENT
    threads: 4
    params:
        run=subpath(output.page, parent=True),
        made_of=lambda wildcards: report_digest(plan_of(wildcards.run)),
    shell:
        "{START} wsss.stages.report --run {params.run:q} --threads {threads} --made-of {params.made_of:q}"
        " 2>&1 | tee {log:q}"


rule compare:
    input:
        tables=lambda wildcards: [collected(run, "miou.csv") for run in compared()],
        maps=lambda wildcards: [file for run in compared() for file in evaluated(run)],
    output:
        report(
            "results/compare.html",
            caption="../report/compare.rst",
            category="comparison",
            labels={"result": "comparison"},
        ),
    log:
        "results/compare.log",
    conda:
        ENVIRONMENT
    threads: 4
    params:
        runs=lambda wildcards: [f"results/{run}" for run in compared()],
        made_of=lambda wildcards: comparison_digest(PLANS[run] for run in compared()),
    shell:
        "python -m wsss.cli.compare {params.runs:q} --out {output:q} --threads {threads} --made-of {params.made_of:q}"
        " 2>&1 | tee {log:q}"
