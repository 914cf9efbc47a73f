"""What SEAM holds to belong to a pixel (Figure 5): the target names image, row and column."""


def step_of(run, stage):
    """The run's step of a stage that it has once."""
    return next(step for step in plan_of(run).steps if step.stage == stage)


rule affinity_map:
    input:
        data=lambda wildcards: f"{step_of(wildcards.run, 'prepare_data').folder}/index.csv",
        classifier=lambda wildcards: f"{step_of(wildcards.run, 'train_classifier').folder}/model.safetensors",
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
        "../../envs/wsss.yaml"
    resources:
        gpu=lambda wildcards: gpu("train_classifier")(
            step_of(wildcards.run, "train_classifier")
        ),
    params:
        data=subpath(input.data, parent=True),
        device=lambda wildcards: plan_of(wildcards.run).execution.device,
    shell:
        "python -m wsss.stages.affinity_map --data {params.data:q} --classifier {input.classifier:q}"
        " --image {wildcards.image:q} --row {wildcards.row:q} --column {wildcards.column:q}"
        " --picture {output[0]:q} --device {params.device:q} 2>&1 | tee {log:q}"
