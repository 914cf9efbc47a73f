"""Refined maps, in shards."""


rule refine_cam_shard:
    input:
        data=upstream("refine_cam", "data", "index.csv"),
        classifier=upstream("refine_cam", "classifier", "model.safetensors"),
        affinity=upstream("refine_cam", "affinity", "model.safetensors"),
        features=upstream("refine_cam", "features", "{split}.h5"),
        scores=by_key(walked_scores),
    output:
        temp(ROOT + "/refine_cam/{key}/shards/{split}/{shard}-of-{n}.h5"),
    log:
        ROOT + "/refine_cam/{key}/logs/{split}-{shard}-of-{n}.txt",
    priority: WAITED_FOR
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=int(GPU_HERE),
    params:
        config=settings("refine_cam"),
        manifest=manifest("refine_cam"),
        data=subpath(input.data, parent=True),
        out=ROOT + "/refine_cam/{key}",
        device=EXECUTION.device,
        features=stored_features,
        options=given("affinity"),
    shell:
        "{START} wsss.stages.refine_cam --config {params.config:q} --manifest {params.manifest:q}"
        " --data {params.data:q} {params.features} --classifier {input.classifier:q} {params.options}"
        " --scores {input.scores:q} --out {params.out:q} --log {log:q} --threads {threads} --device {params.device:q}"
        " --split {wildcards.split:q} --shard {wildcards.shard:q} --of {wildcards.n:q} --file {output:q}"
