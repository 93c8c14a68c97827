# On a machine with only Python >= 3.11, git and make, each target does its own set-up.
.DEFAULT_GOAL := help
.PHONY: help demo models-demo test lint audit

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
MODELS := runs/models
TINY := --frames 37 --area 64x64 --unit 16 --dtype float32

# Two torch processes that spin against each other on a busy machine can be 50 times slower.
export OMP_WAIT_POLICY := PASSIVE

help:  ## Say what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1	\2/'
	@echo '  Another Python: make PYTHON=/path/to/python3.12 demo'

demo: $(READY)  ## Two small grids: what compressions remember, which order drifts (minutes)
	@$(BIN)/fp-lab grid demo

models-demo: $(READY)  ## Fine-tune tiny HunyuanVideo and Wan pipelines, generate, score, compare (minutes; random weights)
	@$(BIN)/python -m fp_lab.lab.tiny_pipelines $(MODELS) hunyuan_video wan
	@$(BIN)/fp-lab data get clips --to $(MODELS)/clips
	@set -e; against=; for family in hunyuan_video wan; do \
	  $(BIN)/fp-lab encode $(MODELS)/clips $(MODELS)/$${family}_cache --model $(MODELS)/$$family $(TINY); \
	  $(BIN)/fp-lab grid models_$$family; \
	  arm=runs/models_$$family/td_f8k8f4k4f2k2f1k1_g3/seed0; \
	  generate="$(BIN)/fp-lab generate --checkpoint $$arm --seconds 2"; \
	  $$generate --prompt "a ball rolls" --prompt "1s: it rests" --out $(MODELS)/videos/$$family/text.mp4; \
	  $$generate --prompt "bikes" --image $(MODELS)/clips/bikes.mp4 --out $(MODELS)/videos/$$family/image.mp4; \
	  $$generate --prompt "he talks" --video $(MODELS)/clips/carphone_pristine.mp4 \
	    --out $(MODELS)/videos/$$family/clip.mp4; \
	  $(BIN)/fp-lab evaluate $(MODELS)/videos/$$family --family plain --out $(MODELS)/scores/$$family \
	    --mlflow runs $$against; \
	  against="--against $(MODELS)/scores/$$family"; \
	done
	@echo "All runs side by side: $(BIN)/mlflow ui --backend-store-uri sqlite:///runs/mlflow.db"

test: lint  ## Run the linters, the type checker, the import contracts and the tests
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile

lint: $(READY)  ## Run all of the checks but the tests
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

# pip-audit, in an environment of its own, asks PyPI about each version; not to be answered is a failure too.
audit: $(READY)  ## Look for known vulnerabilities of the pinned versions (pip-audit; needs a package index)
	@$(BIN)/python -m venv $(VENV)/audit
	@$(VENV)/audit/bin/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.9' || { \
	  echo "Nothing was audited: pip-audit is not here, and no package index that has it can be reached." >&2; exit 1; }
	@$(VENV)/audit/bin/pip-audit --requirement constraints.lock --require-hashes --disable-pip --strict \
	  --progress-spinner off 2> $(VENV)/audit/log; rc=$$?; cat $(VENV)/audit/log >&2; \
	if grep -qiE "could not be audited|connection|timed out|max retries" $(VENV)/audit/log; then \
	  echo "Not audited: PyPI, which knows of vulnerabilities, cannot be asked from here." >&2; exit 1; \
	fi; exit $$rc

# Debian's python3 comes without ensurepip, so a Python that cannot make environments is passed over.
$(READY): pyproject.toml constraints.txt
	@python=""; \
	for candidate in $(or $(PYTHON),python3.11 python3.12 python3.13 python3 python); do \
	  if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    python="$$candidate"; break; \
	  fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "No Python >= 3.11 with venv and ensurepip among: $(or $(PYTHON),python3.11 python3.12 python3.13 python3 python)." >&2; \
	  echo "Install one (on Debian: apt-get install python3 python3-venv) or name it: make PYTHON=/path/to/python" >&2; \
	  exit 1; \
	fi; \
	echo "Installing into $(VENV) with $$("$$python" --version): a few minutes, about 7 GB"; \
	"$$python" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
