"""The pseudo-labels, with masks corrected by hand."""


rule corrections:
    input:
        data=upstream("corrections", "data", "index.csv"),
        labels=upstream("corrections", "labels", "train.h5"),
    output:
        ROOT + "/corrections/{key}/train.h5",
    log:
        ROOT + "/corrections/{key}/log.txt",
    conda:
        ENVIRONMENT
    params:
        config=settings("corrections"),
        manifest=manifest("corrections"),
        data=subpath(input.data, parent=True),
        out=subpath(output[0], parent=True),
    shell:
        "{START} wsss.stages.corrections --config {params.config:q} --manifest {params.manifest:q}"
        " --data {params.data:q} --labels {input.labels:q} --out {params.out:q} --log {log:q} --threads {threads}"
