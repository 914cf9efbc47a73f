"""The classifier whose activations localise classes."""


rule train_classifier:
    input:
        data=upstream("train_classifier", "data", "index.csv"),
        features=upstream("train_classifier", "features", "train.h5"),
        val_features=upstream("train_classifier", "features", "val.h5"),
    output:
        model=ROOT + "/train_classifier/{key}/model.safetensors",
        history=ROOT + "/train_classifier/{key}/history.csv",
        precision=ROOT + "/train_classifier/{key}/average_precision.csv",
    log:
        ROOT + "/train_classifier/{key}/log.txt",
    conda:
        ENVIRONMENT
    threads: 4
    resources:
        gpu=int(GPU_HERE) * EXECUTION.processes,
    params:
        config=settings("train_classifier"),
        manifest=manifest("train_classifier"),
        data=subpath(input.data, parent=True),
        out=subpath(output.model, parent=True),
        device=EXECUTION.device,
        features=stored_features,
    shell:
        "{LAUNCHER} wsss.stages.train_classifier --config {params.config:q} --manifest {params.manifest:q}"
        " --data {params.data:q} {params.features} --out {params.out:q} --log {log:q} --threads {threads}"
        " --device {params.device:q} {TRAINING_FLAGS}"
