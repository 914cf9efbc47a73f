"""The shards of a stage's split, merged to one file."""

from wsss.config.stages import SHARDED


def shards(wildcards):
    """Input function: the shards of a step's file."""
    step = step_of(wildcards.stage, wildcards)
    count = step.shards(EXECUTION.shards)
    folder = f"{step.folder}/shards/{wildcards.split}{wildcards.kind}"
    return [ancient(f"{folder}/{i}-of-{count}.h5") for i in range(count)]


rule merge:
    input:
        data=by_key(
            lambda wildcards: upstream(wildcards.stage, "data", "index.csv")(wildcards)
        ),
        shards=by_key(shards),
    output:
        ROOT + "/{stage}/{key}/{split}{kind}.h5",
    log:
        ROOT + "/{stage}/{key}/logs/{split}{kind}.txt",
    wildcard_constraints:
        stage="|".join(SHARDED),
        kind="|_strided|_crf",
    priority: WAITED_FOR
    conda:
        ENVIRONMENT
    params:
        data=subpath(input.data, parent=True),
    shell:
        "{START} wsss.stages.merge_shards --data {params.data:q} --split {wildcards.split:q}"
        " --file {output:q} {input.shards:q} 2>&1 | tee {log:q}"
