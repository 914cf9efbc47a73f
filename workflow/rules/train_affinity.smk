"""The affinity network."""


rule train_affinity:
    input:
        data=upstream("train_affinity", "data", "index.csv"),
        classifier=upstream("train_affinity", "classifier", "model.safetensors"),
        labels=upstream("train_affinity", "labels", "train.h5"),
        weights=weights("train_affinity"),
    output:
        model=ROOT + "/train_affinity/{key}/model.safetensors",
        history=ROOT + "/train_affinity/{key}/history.csv",
    log:
        ROOT + "/train_affinity/{key}/log.txt",
    priority: WAITED_FOR
    conda:
        "../../envs/wsss.yaml"
    threads: training_threads("train_affinity")
    resources:
        gpu=training_gpus("train_affinity"),
        launcher=launcher("train_affinity"),
        flags=training_flags("train_affinity"),
    params:
        config=settings("train_affinity"),
        code=code("train_affinity"),
        data=subpath(input.data, parent=True),
        out=subpath(output.model, parent=True),
        device=execution("train_affinity", "device"),
        labels=lambda wildcards, input: option("--labels", input.get("labels")),
        seconds=execution("train_affinity", "checkpoint_seconds"),
    shell:
        "{resources.launcher} wsss.stages.train_affinity --config {params.config:q} --code {params.code:q}"
        " --data {params.data:q} --classifier {input.classifier:q} {params.labels} --out {params.out:q} --log {log:q} --threads {threads}"
        " --device {params.device:q} --checkpoint-seconds {params.seconds:q}"
        " {resources.flags}"
