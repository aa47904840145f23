# All commands; `make help` is the index. Heavy things (environments, control-plane binaries) lie in
# ${INTERNVL_CACHE:-~/.cache/internvl-operator} by digest; the checkout holds the thin .venv and .venv-dev.

PYTHON ?= python3
SETUP  := $(PYTHON) -m e2e.setup
STAGES := $(PYTHON) -m e2e.setup.stages
RUN    := .venv/bin
DEV    := .venv-dev/bin
PYTEST := $(DEV)/python -m pytest
SOURCES := operator runtimes engines e2e tests
TYPED  := internvl_operator internvl_runtimes internvl_engines e2e

ARGS ?=
NANO := build/internvlservice.nano.yaml
FILE ?= $(NANO)

# An existing cluster is used only when it is named on this very command line: `make demo KUBECONFIG=path`.
# Most people's shells export a KUBECONFIG, and a demo must not write into whatever cluster that happens to be:
# make calls such a variable's origin "environment", and ours "command line". Neither reaches the commands as a
# variable; the explicit one goes on as an option.
ifeq ($(origin KUBECONFIG),command line)
  KUBECONFIG_OPTION := --kubeconfig "$(KUBECONFIG)"
endif
unexport KUBECONFIG

# Tests start a hundred Python processes. Where a shell or an image forbids byte code, each compiles all that it imports.
unexport PYTHONDONTWRITEBYTECODE

# By the environment, letter by letter, not by the recipe's text: a question may hold quotes and dollar signs.
override PICTURE := $(value PICTURE)
override QUESTION := $(value QUESTION)
export PICTURE QUESTION

# With ARGS such as `-k name` some stages select nothing (status 5), which is then no failure.
ifneq ($(strip $(ARGS)),)
  NONE_SELECTED := || test $$? -eq 5
endif

.DEFAULT_GOAL := help
.PHONY: help setup setup-run setup-dev lock generate golden check test e2e e2e-faults demo up bench bench-autoscaling \
  nano nano-eval nano-card nano-variants cluster clean cluster-up cluster-down cluster-status cluster-shell

##@ Start here

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} \
	  /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z0-9-]+:.*## / {printf "  \033[1m%-17s\033[0m %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: setup-run ## Bring everything up and ask about a picture: PICTURE=file QUESTION="..." KUBECONFIG=file DEMO_EXIT=1
	@$(RUN)/python -m e2e.demo $(KUBECONFIG_OPTION) \
	  $${PICTURE:+--picture "$$PICTURE"} $${QUESTION:+--question "$$QUESTION"}

up: setup-run ## The same service without Kubernetes: FILE=service.yaml ARGS="--ray URL"
	@test -e $(NANO) || $(RUN)/python -m e2e.demo.service $(NANO)
	@$(RUN)/internvl up -f "$(FILE)" $(ARGS)

##@ Develop

setup: ## Make both environments and the control plane's binaries (cold: minutes; warm: under a second)
	@$(SETUP) run dev cluster helm

generate: ## Write the generated files (manifests/{crds,install.yaml}, docs/{reference,conditions,settings,metrics}.md, the chart's schema and CRD)
	@$(SETUP) run helm
	@$(RUN)/python -m internvl_operator.api.crd manifests/crds
	@$(RUN)/python -m internvl_operator.api.reference docs
	@$(RUN)/python -m internvl_operator.api.chart charts/internvl-operator
	@$(RUN)/python -m e2e.platform.chart manifests

golden: setup ## Write the golden renders of the chart and of services; read the diff before you commit it
	@INTERNVL_WRITE_GOLDEN=1 $(PYTEST) tests/contract/test_chart.py tests/unit/internvl_operator/render/test_golden.py -q

lock: ## Resolve the dependencies again and rewrite constraints.txt
	@$(SETUP) lock

cluster: setup-run ## Run only the API server until Ctrl-C, for trying things with kubectl
	@$(RUN)/python -m e2e.cluster $(ARGS)

clean: ## Remove what the checkout holds beside the sources; the cache stays and its path is shown
	@rm -rf .venv .venv-dev build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage
	@find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "kept: $${INTERNVL_CACHE:-$$HOME/.cache/internvl-operator} (rm -rf it to begin from nothing)"

##@ A cluster with nodes (root, Linux)

cluster-up: setup-run ## Start three Kubernetes nodes and KubeRay on this machine; they stay when the command returns
	@$(RUN)/python -m e2e.cluster.nodes up $(KUBECONFIG_OPTION)

cluster-down: setup-run ## End them; nothing stays
	@$(RUN)/python -m e2e.cluster.nodes down $(KUBECONFIG_OPTION)

cluster-status: setup-run ## Show nodes and pods: KUBECONFIG=file for another cluster
	@$(RUN)/python -m e2e.cluster.nodes status $(KUBECONFIG_OPTION)

cluster-shell: setup-run ## A shell with kubectl and helm for them: KUBECONFIG=file for another cluster
	@$(RUN)/python -m e2e.cluster.nodes shell $(KUBECONFIG_OPTION)

##@ Prove

# mypy takes third-party types from the environment below the thin one, where our own folders are not on the path.
check: setup-dev ## Format, lint, types, import contracts, generated files are current
	@$(STAGES) \
	  'format' '$(DEV)/ruff format --check $(SOURCES)' \
	  'lint' '$(DEV)/ruff check $(SOURCES)' \
	  'types' '$(DEV)/mypy --python-executable .venv-dev/heavy/bin/python $(addprefix -p ,$(TYPED))' \
	  'imports' '$(DEV)/lint-imports' \
	  'generated' '$(DEV)/python -m e2e.setup.generated'

# Two at a time: tests of real parts wait more than they compute, but three at a time kept a Ray from starting.
LOCAL := $(patsubst %/conftest.py,%,$(wildcard tests/local/*/conftest.py))
PATHS := tests/local/dataplane tests/local/scaling tests/local/service

test: setup ## All tests, with stage times: ARGS="-k name -x"
	@$(STAGES) \
	  'unit, contract, repo' '$(PYTEST) $(wildcard tests/unit tests/contract tests/repo) $(ARGS) $(NONE_SELECTED)' \
	  '& local: data plane; parity; then parts alone' 'failed=0; \
	    $(PYTEST) tests/local/dataplane tests/parity $(ARGS) $(NONE_SELECTED) || failed=$$?; \
	    $(PYTEST) $(filter-out $(PATHS),$(LOCAL)) $(ARGS) $(NONE_SELECTED) || failed=$$?; exit $$failed' \
	  'local: whole path' '$(PYTEST) tests/local/service $(ARGS) $(NONE_SELECTED)' \
	  'local: scaling' '$(PYTEST) tests/local/scaling $(ARGS) $(NONE_SELECTED)'

e2e: setup ## The tests on a cluster with nodes (root, Linux): ARGS="-k name -x"; or KUBECONFIG=file VALUES=file
	@$(STAGES) \
	  'programs and images' '$(if $(KUBECONFIG_OPTION),true,$(RUN)/python -m e2e.cluster.nodes prepare)' \
	  'cluster' '$(PYTEST) tests/cluster $(KUBECONFIG_OPTION) $(if $(VALUES),--chart-values "$(VALUES)") $(ARGS) $(NONE_SELECTED)'

e2e-faults: setup ## One fault after another under load, an hour; goes on where it was: ARGS="NAME --again --list"
	@$(DEV)/python -m e2e.faults $(ARGS)

bench: setup ## All benchmarks: a table, and build/bench/*.json
	@$(DEV)/python -m e2e.bench $(ARGS)

bench-autoscaling: setup-dev ## Our scaling rule and its peers on the same traffic, 17 min: ARGS="--traces DIR --site heavy --fleet 20 --trace azure"
	@$(DEV)/python -m e2e.bench.autoscaling $(ARGS)

##@ internvl-nano

CARDS := engines/internvl_engines/models/internvl-nano/README.md docs/vir.md docs/benchmarks.md

nano: setup-dev ## Train it and export its artifacts (seeded, resumable)
	@$(DEV)/python -m internvl_engines.nano train $(ARGS)

nano-eval: setup-dev ## Measure its answers and its router on held-out pictures: tables, and build/bench/nano-eval.json
	@$(DEV)/python -m internvl_engines.nano evaluate $(ARGS)

nano-card: setup-dev ## Write what nano-eval measured into the model card and docs/, and draw the pictures of docs/vir.md
	@$(DEV)/python -m internvl_engines.nano card $(CARDS)
	@$(DEV)/python -m e2e.demo.document docs/pictures

nano-variants: setup-dev ## Checkpoints of other forms for tests, in build/nano/variants: ARGS="dense hf tower reward"
	@$(DEV)/python -m internvl_engines.nano variants $(ARGS)

setup-run:
	@$(SETUP) run $(if $(KUBECONFIG_OPTION),,cluster)

setup-dev:
	@$(SETUP) dev helm
