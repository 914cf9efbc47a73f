"""Random walk, in shards."""


rule refine_cam_shard:
    input:
        data=upstream("refine_cam", "data", "index.csv"),
        affinity=upstream("refine_cam", "affinity", "model.safetensors"),
        scores=upstream("refine_cam", "scores", "{split}.h5"),
    output:
        temp(ROOT + "/refine_cam/{key}/shards/{split}/{shard}-of-{n}.h5"),
    log:
        ROOT + "/refine_cam/{key}/logs/{split}-{shard}-of-{n}.txt",
    conda:
        "../../envs/wsss.yaml"
    threads: 1
    resources:
        gpu=gpu("refine_cam"),
    params:
        config=settings("refine_cam"),
        code=code("refine_cam"),
        data=subpath(input.data, parent=True),
        out=ROOT + "/refine_cam/{key}",
        device=execution("refine_cam", "device"),
    shell:
        "python -m wsss.stages.refine_cam --config {params.config:q} --code {params.code}"
        " --data {params.data} --affinity {input.affinity} --scores {input.scores} --out {params.out} --log {log} --threads {threads} --device {params.device}"
        " --split {wildcards.split} --shard {wildcards.shard} --of {wildcards.n} --file {output}"


rule refine_cam:
    input:
        data=upstream("refine_cam", "data", "index.csv"),
        shards=shards(
            "refine_cam", ROOT + "/refine_cam/{key}/shards/{split}/{shard}-of-{n}.h5"
        ),
    output:
        ROOT + "/refine_cam/{key}/{split}.h5",
    log:
        ROOT + "/refine_cam/{key}/logs/{split}.txt",
    conda:
        "../../envs/wsss.yaml"
    params:
        data=subpath(input.data, parent=True),
    shell:
        "python -m wsss.stages.merge_shards --data {params.data} --split {wildcards.split}"
        " --file {output} {input.shards} 2> {log}"
