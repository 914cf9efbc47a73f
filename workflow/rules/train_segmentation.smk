"""The segmentation network, on pseudo-labels or on masks."""


rule train_segmentation:
    input:
        data=upstream("train_segmentation", "data", "index.csv"),
        classifier=upstream("train_segmentation", "classifier", "model.safetensors"),
        labels=upstream("train_segmentation", "labels", "train.h5"),
        features=upstream("train_segmentation", "features", "train.h5"),
    output:
        model=ROOT + "/train_segmentation/{key}/model.safetensors",
        history=ROOT + "/train_segmentation/{key}/history.csv",
    log:
        ROOT + "/train_segmentation/{key}/log.txt",
    conda:
        ENVIRONMENT
    threads: training_threads("train_segmentation")
    resources:
        gpu=int(GPU_HERE) * EXECUTION.processes,
    params:
        config=settings("train_segmentation"),
        manifest=manifest("train_segmentation"),
        data=subpath(input.data, parent=True),
        out=subpath(output.model, parent=True),
        device=EXECUTION.device,
        features=stored_features,
        options=given("classifier", "labels"),
    shell:
        "{LAUNCHER} wsss.stages.train_segmentation --config {params.config:q} --manifest {params.manifest:q}"
        " --data {params.data:q} {params.options} {params.features} --out {params.out:q} --log {log:q}"
        " --threads {threads} --device {params.device:q} {TRAINING_FLAGS}"
