"""Pseudo-labels, in shards."""


rule make_pseudo_labels_shard:
    input:
        data=upstream("make_pseudo_labels", "data", "index.csv"),
        scores=upstream("make_pseudo_labels", "scores", "{split}.h5"),
        threshold=upstream("make_pseudo_labels", "threshold", "threshold.json"),
    output:
        temp(ROOT + "/make_pseudo_labels/{key}/shards/{split}/{shard}-of-{n}.h5"),
    log:
        ROOT + "/make_pseudo_labels/{key}/logs/{split}-{shard}-of-{n}.txt",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=crf_gpu("make_pseudo_labels"),
    params:
        config=settings("make_pseudo_labels"),
        manifest=manifest("make_pseudo_labels"),
        data=subpath(input.data, parent=True),
        out=ROOT + "/make_pseudo_labels/{key}",
        device=EXECUTION.device,
        options=given("threshold"),
    shell:
        "{START} wsss.stages.make_pseudo_labels --config {params.config:q} --manifest {params.manifest:q}"
        " --data {params.data:q} --scores {input.scores:q} {params.options} --out {params.out:q} --log {log:q}"
        " --threads {threads} --device {params.device:q}"
        " --split {wildcards.split:q} --shard {wildcards.shard:q} --of {wildcards.n:q} --file {output:q}"
