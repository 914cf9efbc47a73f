"""The background score of maps without background."""


rule choose_threshold:
    input:
        data=upstream("choose_threshold", "data", "index.csv"),
        scores=upstream("choose_threshold", "scores", "train.h5"),
    output:
        ROOT + "/choose_threshold/{key}/threshold.json",
    log:
        ROOT + "/choose_threshold/{key}/log.txt",
    priority: WAITED_FOR
    conda:
        ENVIRONMENT
    threads: training_threads("choose_threshold")
    params:
        config=settings("choose_threshold"),
        manifest=manifest("choose_threshold"),
        data=subpath(input.data, parent=True),
        out=subpath(output[0], parent=True),
    shell:
        "{START} wsss.stages.choose_threshold --config {params.config:q} --manifest {params.manifest:q}"
        " --data {params.data:q} --scores {input.scores:q} --out {params.out:q} --log {log:q} --threads {threads}"
