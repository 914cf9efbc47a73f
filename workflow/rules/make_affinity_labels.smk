"""Confident labels for AffinityNet, in shards."""


rule make_affinity_labels_shard:
    input:
        data=upstream("make_affinity_labels", "data", "index.csv"),
        scores=upstream("make_affinity_labels", "scores", "{split}.h5"),
    output:
        temp(ROOT + "/make_affinity_labels/{key}/shards/{split}/{shard}-of-{n}.h5"),
    log:
        ROOT + "/make_affinity_labels/{key}/logs/{split}-{shard}-of-{n}.txt",
    conda:
        "../../envs/wsss.yaml"
    threads: 1
    resources:
        gpu=crf_gpu("make_affinity_labels"),
    params:
        config=settings("make_affinity_labels"),
        code=code("make_affinity_labels"),
        data=subpath(input.data, parent=True),
        out=ROOT + "/make_affinity_labels/{key}",
        device=execution("make_affinity_labels", "device"),
    shell:
        "python -m wsss.stages.make_affinity_labels --config {params.config:q} --code {params.code}"
        " --data {params.data} --scores {input.scores} --out {params.out} --log {log} --threads {threads} --device {params.device}"
        " --split {wildcards.split} --shard {wildcards.shard} --of {wildcards.n} --file {output}"


rule make_affinity_labels:
    input:
        data=upstream("make_affinity_labels", "data", "index.csv"),
        shards=shards(
            "make_affinity_labels",
            ROOT + "/make_affinity_labels/{key}/shards/{split}/{shard}-of-{n}.h5",
        ),
    output:
        ROOT + "/make_affinity_labels/{key}/{split}.h5",
    log:
        ROOT + "/make_affinity_labels/{key}/logs/{split}.txt",
    conda:
        "../../envs/wsss.yaml"
    params:
        data=subpath(input.data, parent=True),
    shell:
        "python -m wsss.stages.merge_shards --data {params.data} --split {wildcards.split}"
        " --file {output} {input.shards} 2> {log}"
