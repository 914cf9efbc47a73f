"""SEAM's affinity map of a pixel (Figure 5 of the paper); the target names image, row and column."""


rule affinity_map:
    input:
        data=of_run("prepare_data", "index.csv"),
        classifier=of_run("train_classifier", "model.safetensors"),
    output:
        "results/{run}/affinity_map/{image}-{row}-{column}.png",
        "results/{run}/affinity_map/{image}-{row}-{column}.npy",
    log:
        "results/{run}/affinity_map/{image}-{row}-{column}.log",
    wildcard_constraints:
        image=".+",
        row=r"\d+",
        column=r"\d+",
    conda:
        ENVIRONMENT
    resources:
        gpu=int(GPU_HERE),
    params:
        data=subpath(input.data, parent=True),
        device=EXECUTION.device,
        made_of=lambda wildcards: affinity_map_digest(plan_of(wildcards.run)),
    shell:
        "{START} wsss.stages.affinity_map --data {params.data:q} --classifier {input.classifier:q}"
        " --image {wildcards.image:q} --row {wildcards.row:q} --column {wildcards.column:q}"
        " --picture {output[0]:q} --device {params.device:q} --made-of {params.made_of:q} 2>&1 | tee {log:q}"
