"""A paper's tables, measured on the data set of `tables:` in config.yaml."""


def table_of(name):
    """The entries of a table, after a check that the inputs of their runs exist."""
    found = (
        missing_inputs(plan, download=not workflow.dryrun)
        for plan in checked_plans(TABLES[name])
    )
    if problem := next(filter(None, found), None):
        sys.exit(problem)
    for entry in TABLES[name]:
        STEPS.add(entry.plan)
    return TABLES[name]


rule make_table:
    input:
        miou=lambda wildcards: [
            ancient(file)
            for file in sorted(
                {
                    f"{e.plan.step('evaluate').folder}/miou.csv"
                    for e in table_of(wildcards.table)
                }
            )
        ],
        passed=lambda wildcards: [
            file
            for plan in checked_plans(TABLES[wildcards.table])
            for file in passed(plan)
        ],
    output:
        table="results/tables/{table}.csv",
        figure="results/tables/{table}-scales.csv",
        image="results/tables/{table}-scales.png",
    log:
        "results/tables/{table}.log",
    wildcard_constraints:
        table="|".join(TABLES) or "none",
    conda:
        ENVIRONMENT
    params:
        made_of=lambda wildcards: entries_digest(TABLES[wildcards.table]),
        entries=lambda wildcards: json.dumps(
            [
                {
                    "table": e.entry.table,
                    "entry": e.entry.name,
                    "stage": e.entry.stage,
                    "published": e.entry.published,
                    "miou": f"{e.plan.step('evaluate').folder}/miou.csv",
                }
                for e in TABLES[wildcards.table]
            ]
        ),
    shell:
        "{START} wsss.stages.make_table --entries {params.entries:q} --table {output.table:q}"
        " --figure {output.figure:q} --made-of {params.made_of:q} 2>&1 | tee {log:q}"
