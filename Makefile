# Everything a newcomer needs: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: setup demo kit kit-seam kit-vit kit-toco kit-acr kit-psa kit-irn test test-slow soak lint format bench help

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP)  ## create .venv and install wsss with its pinned dependencies

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "wsss needs Python 3.11 or newer; found " + sys.version.split()[0] + " (set PYTHON=/path/to/python3.11)")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --editable '.[dev]'
	touch $(STAMP)

demo: $(STAMP)  ## image labels to a trained model on the generated data set, with its table (minutes)
	$(BIN)/snakemake --cores all --quiet rules host progress reason -- results/shapes/miou.csv results/shapes/report.html
	$(BIN)/wsss show results/shapes

kit: $(STAMP)  ## the pipeline on 1000 real photographs: make kit KIT=/path/to/voc-kit
kit-seam: $(STAMP)  ## SEAM instead of CAM on them, as far as the pseudo-labels: make kit-seam KIT=/path/to/voc-kit
kit-vit: $(STAMP)  ## seeds of a DeiT-tiny, without a loss of its own: make kit-vit KIT=/path/to/voc-kit
kit-toco: $(STAMP)  ## ToCo's preset on it, without PTC, and without PTC and CTC: make kit-toco KIT=/path/to/voc-kit
kit-acr: $(STAMP)  ## ACR's preset on it, and without consistency: make kit-acr KIT=/path/to/voc-kit
kit-psa: $(STAMP)  ## PSA's preset on the MobileNetV2: make kit-psa KIT=/path/to/voc-kit
kit-irn: $(STAMP)  ## IRN's preset on the MobileNetV2: make kit-irn KIT=/path/to/voc-kit
KIT_RUNS = $@
kit-toco: KIT_RUNS = kit-toco kit-toco-without-ptc kit-toco-without
kit-acr: KIT_RUNS = kit-acr kit-acr-without
kit kit-seam kit-vit kit-toco kit-acr kit-psa kit-irn:
	@test -d "$(KIT)/VOC2012" || { echo "make $@ KIT=DIR: DIR must hold VOC2012/, labels.csv and the weights; found '$(KIT)'"; exit 2; }
	mkdir -p results && sed 's#KIT/#$(KIT)/#' benchmarks/kit.yaml > results/kit.yaml
	$(BIN)/snakemake --cores all --quiet rules host progress reason --configfile results/kit.yaml -- $(KIT_RUNS:%=results/%/miou.csv)
	for run in $(KIT_RUNS); do $(BIN)/wsss show results/$$run; done

bench: $(STAMP)  ## every stage's kernel against the published algorithm written plainly (about 15 minutes; KIT=… optional)
	WSSS_KIT=$(if $(KIT),$(abspath $(KIT))) $(BIN)/python -m benchmarks

.PHONY: kit-frozen
kit-frozen: $(STAMP)  ## a frozen network instead of trained ones, in minutes: make kit-frozen KIT=/path/to/voc-kit
	@test -d "$(KIT)/VOC2012" || { echo "make $@ KIT=DIR: DIR must hold VOC2012/ and labels.csv; found '$(KIT)'"; exit 2; }
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[offline]'
	mkdir -p results && sed 's#KIT/#$(KIT)/#' benchmarks/kit-frozen.yaml > results/kit-frozen.yaml
	$(BIN)/snakemake --cores all --quiet rules host progress reason --configfile results/kit-frozen.yaml -- results/$@/miou.csv results/$@/report.html
	$(BIN)/wsss show results/$@

.PHONY: kit-tokens
kit-tokens: $(STAMP)  ## a frozen DeiT-tiny, token decoder and DeepLab on the same labels: make kit-tokens KIT=/path/to/voc-kit
	@test -d "$(KIT)/VOC2012" || { echo "make $@ KIT=DIR: DIR must hold VOC2012/, labels.csv and the weights; found '$(KIT)'"; exit 2; }
	mkdir -p results && sed 's#KIT/#$(KIT)/#' benchmarks/kit-tokens.yaml > results/kit-tokens.yaml
	$(BIN)/snakemake --cores all --quiet rules host progress reason --configfile results/kit-tokens.yaml -- results/kit-tokens/miou.csv results/kit-tokens-deeplab/miou.csv
	for run in kit-tokens kit-tokens-deeplab; do $(BIN)/wsss show results/$$run; done

lint: $(STAMP)  ## ruff, snakefmt and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/lint-imports --no-cache

format: $(STAMP)  ## rewrite the sources in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

test: lint  ## lint and the default test run, on up to four cores
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test-slow: $(STAMP)  ## the tests marked slow
	$(BIN)/python -m pytest -m slow -rs

N ?= 100
soak: $(STAMP)  ## kill a tiny run N times, at random moments of every stage, and compare the results: make soak N=100
	$(BIN)/python tests/reliability/soak.py --kills $(N)
