"""Class activation maps of a split, in shards; a second file has those of every 4th pixel, if configured."""


rule infer_cam_shard:
    input:
        data=upstream("infer_cam", "data", "index.csv"),
        classifier=upstream("infer_cam", "classifier", "model.safetensors"),
        features=upstream("infer_cam", "features", "{split}.h5"),
    output:
        full=temp(ROOT + "/infer_cam/{key}/shards/{split}/{shard}-of-{n}.h5"),
        strided=temp(ROOT + "/infer_cam/{key}/shards/{split}_strided/{shard}-of-{n}.h5"),
    log:
        ROOT + "/infer_cam/{key}/logs/{split}-{shard}-of-{n}.txt",
    wildcard_constraints:
        split="train",
    priority: WAITED_FOR
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=int(GPU_HERE),
    params:
        config=settings("infer_cam"),
        manifest=manifest("infer_cam"),
        data=subpath(input.data, parent=True),
        out=ROOT + "/infer_cam/{key}",
        device=EXECUTION.device,
        features=stored_features,
    shell:
        "{START} wsss.stages.infer_cam --config {params.config:q} --manifest {params.manifest:q}"
        " --data {params.data:q} {params.features} --classifier {input.classifier:q} --out {params.out:q} --log {log:q}"
        " --threads {threads} --device {params.device:q}"
        " --split {wildcards.split:q} --shard {wildcards.shard:q} --of {wildcards.n:q} --file {output.full:q}"
        " --strided-file {output.strided:q}"


use rule infer_cam_shard as infer_cam_shard_of_val with:
    wildcard_constraints:
        split="val",
    priority: 0
