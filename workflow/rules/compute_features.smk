"""Features of a frozen network, in shards."""


rule compute_features_shard:
    input:
        data=upstream("compute_features", "data", "index.csv"),
    output:
        temp(ROOT + "/compute_features/{key}/shards/{split}/{shard}-of-{n}.h5"),
    log:
        ROOT + "/compute_features/{key}/logs/{split}-{shard}-of-{n}.txt",
    wildcard_constraints:
        split="train",
    priority: WAITED_FOR
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=int(GPU_HERE),
    params:
        config=settings("compute_features"),
        manifest=manifest("compute_features"),
        data=subpath(input.data, parent=True),
        out=ROOT + "/compute_features/{key}",
        device=EXECUTION.device,
    shell:
        "{START} wsss.stages.compute_features --config {params.config:q} --manifest {params.manifest:q}"
        " --data {params.data:q} --out {params.out:q} --log {log:q} --threads {threads} --device {params.device:q}"
        " --split {wildcards.split:q} --shard {wildcards.shard:q} --of {wildcards.n:q} --file {output:q}"


use rule compute_features_shard as compute_features_shard_of_val with:
    wildcard_constraints:
        split="val",
    priority: 0
