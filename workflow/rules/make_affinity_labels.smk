"""Confident labels that supervise an affinity network, in shards."""


rule make_affinity_labels_shard:
    input:
        data=upstream("make_affinity_labels", "data", "index.csv"),
        scores=upstream("make_affinity_labels", "scores", "{split}.h5"),
        features=upstream("make_affinity_labels", "features", "{split}.h5"),
    output:
        temp(ROOT + "/make_affinity_labels/{key}/shards/{split}/{shard}-of-{n}.h5"),
    log:
        ROOT + "/make_affinity_labels/{key}/logs/{split}-{shard}-of-{n}.txt",
    priority: WAITED_FOR
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=crf_gpu("make_affinity_labels"),
    params:
        config=settings("make_affinity_labels"),
        manifest=manifest("make_affinity_labels"),
        data=subpath(input.data, parent=True),
        out=ROOT + "/make_affinity_labels/{key}",
        device=EXECUTION.device,
        features=stored_features,
    shell:
        "{START} wsss.stages.make_affinity_labels --config {params.config:q} --manifest {params.manifest:q}"
        " --data {params.data:q} {params.features} --scores {input.scores:q} --out {params.out:q} --log {log:q}"
        " --threads {threads} --device {params.device:q}"
        " --split {wildcards.split:q} --shard {wildcards.shard:q} --of {wildcards.n:q} --file {output:q}"
