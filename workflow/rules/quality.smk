"""Tables of what to check by eye: hints per class, and images sorted by uncertainty."""


rule quality:
    input:
        data=upstream("quality", "data", "index.csv"),
        scores=upstream("quality", "scores", "train.h5"),
        labels=upstream("quality", "labels", "train.h5"),
        threshold=upstream("quality", "threshold", "threshold.json"),
        classifier=upstream("quality", "classifier", "model.safetensors"),
        features=upstream("quality", "features", "train.h5"),
    output:
        classes=ROOT + "/quality/{key}/quality.csv",
        images=ROOT + "/quality/{key}/images.csv",
    log:
        ROOT + "/quality/{key}/log.txt",
    priority: READ_BY_NO_STAGE
    conda:
        ENVIRONMENT
    params:
        config=settings("quality"),
        manifest=manifest("quality"),
        data=subpath(input.data, parent=True),
        out=subpath(output.classes, parent=True),
        options=given("classifier"),
        features=stored_features,
    shell:
        "{START} wsss.stages.quality --config {params.config:q} --manifest {params.manifest:q}"
        " --data {params.data:q} --scores {input.scores:q} --labels {input.labels:q} --threshold {input.threshold:q}"
        " {params.options} {params.features}"
        " --out {params.out:q} --log {log:q} --threads {threads}"
