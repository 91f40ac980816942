# One command from clone to speech: make up. One from clone to green tests: make check test.
PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=
# How long `make soak` measures after its warm-up, and `make fuzz` runs: half over HTTP, half over parsers.
MINUTES ?= 30
# For tests and checks alone; a build for the CPU is enough. `make up` needs none.
TORCH  ?= torch==2.13.0

BIN   := $(VENV)/bin
FARM  := $(VENV)/.farm
DEV   := $(VENV)/.dev
PIP_COMPILE = $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --quiet
COMPILE = $(PIP_COMPILE) --extra worker --extra embedded

.PHONY: help up test faults fuzz check fmt bench bench-scale bench-engine bench-gpu bench-text soak lock \
	lock-images licences sbom audit wheels clean

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: $(FARM) ## Start the farm on this machine; make up ARGS="--port 8080 --data-dir /tmp/farm"
	@exec $(BIN)/ttsfarm up $(ARGS)

test: $(DEV) ## Run the tests; make test ARGS="-k embedded"
	$(BIN)/pytest $(ARGS)

faults: $(DEV) ## Break running farms by seed; make faults SEEDS=100 or 21-40, or SCENARIO=17 SEED=5
	$(BIN)/python -m tests.faults --seeds $(or $(SEEDS),1) $(if $(SEED),--seed $(SEED)) \
	  $(if $(SCENARIO),--scenario $(SCENARIO)) $(ARGS)

fuzz: $(DEV) ## Feed API and parsers with what fuzzers make up; make fuzz MINUTES=10
	@status=0; \
	$(BIN)/python -m tests.weapons $(MINUTES) || status=1; \
	$(BIN)/python -m tests.fuzz -max_total_time=$$(($(MINUTES) * 60 / 2 / 17)) || status=1; \
	exit $$status

check: $(DEV) ## Formatting, lint, types and who imports whom
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: $(DEV) ## Format and mend what can be mended by itself
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(DEV) ## Measure the farm beside bare Celery; writes benchmarks/results
	$(BIN)/python -m benchmarks $(ARGS)

bench-scale: $(DEV) ## Measure books on 1 to 8 workers, greetings behind a book, memory
	$(BIN)/python -m benchmarks.scale $(ARGS)

bench-engine: $(DEV) ## Measure the Sambert-HifiGAN engine on voices made by script
	$(BIN)/python -m benchmarks.engine $(ARGS)

bench-gpu: $(DEV) ## The same on a CUDA GPU, in an environment whose torch has CUDA
	$(BIN)/python -m benchmarks.gpu $(ARGS)

bench-text: $(DEV) ## Measure the text frontend beside the open libraries that are installed
	$(BIN)/python -m benchmarks.text $(ARGS)

soak: $(DEV) ## Load a farm for a while and tell what grows; make soak MINUTES=30
	$(BIN)/python -m benchmarks.soak --minutes $(MINUTES) $(ARGS)

lock: $(DEV) ## Choose the newest allowed versions again and write requirements/*.txt
	$(COMPILE) --upgrade -o requirements/farm.txt pyproject.toml requirements/build.in
	echo "$(TORCH)" > $(VENV)/torch.in
	$(COMPILE) --upgrade --extra dev --extra sambert --extra int8 --extra modelscope --no-emit-package torch \
	  -o requirements/dev.txt -c requirements/farm.txt -c $(VENV)/torch.in pyproject.toml requirements/build.in
	$(MAKE) lock-images

lock-images: $(DEV) ## Write what the images are made of, from the versions of the two locks
	echo "$(TORCH)" > $(VENV)/torch.in
	$(PIP_COMPILE) -c requirements/farm.txt -o requirements/build.txt requirements/build.in
	$(PIP_COMPILE) -c requirements/farm.txt --extra stream -o requirements/api.txt pyproject.toml
	$(PIP_COMPILE) -c requirements/farm.txt --extra worker -o requirements/worker.txt pyproject.toml
	$(PIP_COMPILE) -c requirements/dev.txt -c $(VENV)/torch.in --no-emit-package torch \
	  --extra worker --extra sambert --extra int8 --extra hub -o requirements/sambert.txt pyproject.toml
	$(MAKE) licences sbom

licences: $(DEV) ## Write the licences of all that is locked, and the page of them
	$(BIN)/python -m scripts.licences
	$(BIN)/python -m tests.doc_tables

sbom: $(DEV) ## Write what the images are made of as CycloneDX, into deploy/sbom
	$(BIN)/python -m scripts.sbom

audit: $(DEV) ## Ask for known faults of all that is locked; says so where nobody can be asked
	$(BIN)/python -m scripts.audit

wheels: $(DEV) ## Check that every locked package has a wheel for Linux on arm64 and amd64
	$(BIN)/python scripts/check_wheels.py

clean: ## Remove what make made; jobs and audio under var/ stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# A stamp says which lock is installed, so that a second `make up` starts at once.
$(FARM): requirements/farm.txt pyproject.toml | $(BIN)/python
	$(call install,requirements/farm.txt,400)
	@touch $@

$(DEV): requirements/dev.txt pyproject.toml | $(BIN)/python
	$(call install,requirements/dev.txt,4000)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	@touch $@ $(FARM)

define install
@echo "Installing $(1) into $(VENV) (once) ..."
@$(BIN)/python scripts/check_room.py $(VENV) $(2)
@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(1) || { \
  echo "$$NOT_INSTALLED" >&2; exit 1; }
@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
endef

define NOT_INSTALLED
Nothing was installed; pip says why above. Run the same command again, it goes on where it was.
  No network, or a slow one?  Name a mirror near you: PIP_INDEX_URL=https://... make up
  A proxy?                    export HTTPS_PROXY=http://host:port
  A machine without network?  On another one: pip download -r requirements/farm.txt -d wheels
                              then here: PIP_NO_INDEX=1 PIP_FIND_LINKS=wheels make up
  No space left on device?    Make room here and in /tmp, or: make up VENV=/somewhere/with/room
endef
export NOT_INSTALLED

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "ttsfarm needs Python 3.11 or newer; '$(PYTHON)' is not. Install one, then: make up PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "No virtual environment could be made. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
