"""The classifier whose activations localise classes."""


rule train_classifier:
    input:
        data=upstream("train_classifier", "data", "index.csv"),
        weights=weights("train_classifier"),
    output:
        model=ROOT + "/train_classifier/{key}/model.safetensors",
        history=ROOT + "/train_classifier/{key}/history.csv",
        precision=ROOT + "/train_classifier/{key}/average_precision.csv",
    log:
        ROOT + "/train_classifier/{key}/log.txt",
    conda:
        "../../envs/wsss.yaml"
    threads: 4
    resources:
        gpu=training_gpus("train_classifier"),
        launcher=launcher("train_classifier"),
        flags=training_flags("train_classifier"),
    params:
        config=settings("train_classifier"),
        code=code("train_classifier"),
        data=subpath(input.data, parent=True),
        out=subpath(output.model, parent=True),
        device=execution("train_classifier", "device"),
        seconds=execution("train_classifier", "checkpoint_seconds"),
    shell:
        "{resources.launcher} wsss.stages.train_classifier --config {params.config:q} --code {params.code:q}"
        " --data {params.data:q} --out {params.out:q} --log {log:q} --threads {threads}"
        " --device {params.device:q} --checkpoint-seconds {params.seconds:q}"
        " {resources.flags}"
