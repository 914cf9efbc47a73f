"""The table of images, labels and splits."""


rule prepare_data:
    output:
        index=ROOT + "/prepare_data/{key}/index.csv",
        info=ROOT + "/prepare_data/{key}/dataset.json",
    log:
        ROOT + "/prepare_data/{key}/log.txt",
    conda:
        ENVIRONMENT
    threads: 4
    params:
        config=settings("prepare_data"),
        manifest=manifest("prepare_data"),
        out=subpath(output.index, parent=True),
    shell:
        "{START} wsss.stages.prepare_data --config {params.config:q} --manifest {params.manifest:q}"
        " --out {params.out:q} --log {log:q} --threads {threads}"
