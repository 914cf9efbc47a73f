# Snakemake runs this in the new environment; the Snakefile sets WSSS_CLONE. A path in wsss.yaml would be relative to its copy.
python -m pip install --editable "$WSSS_CLONE"
