"""The segmentation network, on pseudo-labels or on masks."""


rule train_segmentation:
    input:
        data=upstream("train_segmentation", "data", "index.csv"),
        classifier=upstream("train_segmentation", "classifier", "model.safetensors"),
        labels=upstream("train_segmentation", "labels", "train.h5"),
        weights=weights("train_segmentation"),
    output:
        model=ROOT + "/train_segmentation/{key}/model.safetensors",
        history=ROOT + "/train_segmentation/{key}/history.csv",
    log:
        ROOT + "/train_segmentation/{key}/log.txt",
    conda:
        "../../envs/wsss.yaml"
    threads: training_threads("train_segmentation")
    resources:
        gpu=training_gpus("train_segmentation"),
        launcher=launcher("train_segmentation"),
        flags=training_flags("train_segmentation"),
    params:
        config=settings("train_segmentation"),
        code=code("train_segmentation"),
        data=subpath(input.data, parent=True),
        out=subpath(output.model, parent=True),
        device=execution("train_segmentation", "device"),
        seconds=execution("train_segmentation", "checkpoint_seconds"),
        options=lambda wildcards, input: " ".join(
            option(f"--{role}", input.get(role)) for role in ("classifier", "labels")
        ),
    shell:
        "{resources.launcher} wsss.stages.train_segmentation --config {params.config:q} --code {params.code:q}"
        " --data {params.data:q} {params.options} --out {params.out:q} --log {log:q} --threads {threads}"
        " --device {params.device:q} --checkpoint-seconds {params.seconds:q}"
        " {resources.flags}"
