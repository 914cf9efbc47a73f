"""The affinity network."""


rule train_affinity:
    input:
        data=upstream("train_affinity", "data", "index.csv"),
        classifier=upstream("train_affinity", "classifier", "model.safetensors"),
        labels=upstream("train_affinity", "labels", "train.h5"),
        features=upstream("train_affinity", "features", "train.h5"),
    output:
        model=ROOT + "/train_affinity/{key}/model.safetensors",
        history=ROOT + "/train_affinity/{key}/history.csv",
    log:
        ROOT + "/train_affinity/{key}/log.txt",
    priority: WAITED_FOR
    conda:
        ENVIRONMENT
    threads: training_threads("train_affinity")
    resources:
        gpu=int(GPU_HERE) * EXECUTION.processes,
    params:
        config=settings("train_affinity"),
        manifest=manifest("train_affinity"),
        data=subpath(input.data, parent=True),
        out=subpath(output.model, parent=True),
        device=EXECUTION.device,
        features=stored_features,
        options=given("classifier", "labels"),
    shell:
        "{LAUNCHER} wsss.stages.train_affinity --config {params.config:q} --manifest {params.manifest:q}"
        " --data {params.data:q} {params.options} {params.features} --out {params.out:q} --log {log:q}"
        " --threads {threads} --device {params.device:q} {TRAINING_FLAGS}"
