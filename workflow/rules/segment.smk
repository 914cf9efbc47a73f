"""Predictions of the segmentation network, in shards; with a CRF there is a second file."""


rule segment_shard:
    input:
        data=upstream("segment", "data", "index.csv"),
        model=upstream("segment", "model", "model.safetensors"),
        features=upstream("segment", "features", "{split}.h5"),
    output:
        plain=temp(ROOT + "/segment/{key}/shards/{split}/{shard}-of-{n}.h5"),
        crf=temp(ROOT + "/segment/{key}/shards/{split}_crf/{shard}-of-{n}.h5"),
    log:
        ROOT + "/segment/{key}/logs/{split}-{shard}-of-{n}.txt",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=int(GPU_HERE),
    params:
        config=settings("segment"),
        manifest=manifest("segment"),
        data=subpath(input.data, parent=True),
        out=ROOT + "/segment/{key}",
        device=EXECUTION.device,
        features=stored_features,
    shell:
        "{START} wsss.stages.segment --config {params.config:q} --manifest {params.manifest:q}"
        " --data {params.data:q} {params.features} --model {input.model:q} --out {params.out:q} --log {log:q}"
        " --threads {threads} --device {params.device:q}"
        " --split {wildcards.split:q} --shard {wildcards.shard:q} --of {wildcards.n:q}"
        " --file {output.plain:q} --crf-file {output.crf:q}"
