# make demo   raw documents → trained model, in runs/demo   make test   everything that can be tested here
# make check  lint, format, types                           make bench  speed against peers      make clean
# PYTHON=python3.12 make … picks the interpreter; EXTRA=cpu|gpu|none picks the vLLM build.
# SERVER=http://… MODEL=name make demo lets another OpenAI-compatible server write the synthetic text.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# vLLM's two builds own the same module. The CPU build needs Linux on x86-64 with AVX-512.
EXTRA ?= $(shell if nvidia-smi -L >/dev/null 2>&1; then echo gpu; \
	elif [ "$$(uname -sm)" = "Linux x86_64" ] && grep -qm1 avx512 /proc/cpuinfo; then echo cpu; else echo none; fi)
# Without vLLM nothing here can serve what was trained: the last step is the one after fine-tuning.
WITHOUT_VLLM := $(if $(filter none,$(EXTRA)),--until problems)
EXTRAS := $(if $(filter none,$(EXTRA)),,$(EXTRA),)train,dev
PINS := $(if $(filter gpu,$(EXTRA)),,-c constraints/pinned.txt --override constraints/overrides.txt)

# uv does not read pip's settings; hand over the ones that say where packages are.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
ifneq ($(PIP_INDEX_URL),)
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif

# Every stage starts processes of its own; without cached bytecode each compiles its imports anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check bench clean

demo: $(VENV)/.ready-$(EXTRA)
	$(BIN)/reasonmill demo-corpus runs/demo-corpus
	$(BIN)/reasonmill run recipes/demo.yaml $(if $(SERVER),--set stages.synth.server=$(SERVER)) \
		$(if $(MODEL),--set stages.synth.model=$(MODEL)) $(WITHOUT_VLLM)
	$(if $(WITHOUT_VLLM),$(BIN)/reasonmill report runs/demo)
	$(BIN)/reasonmill inspect runs/demo

test: check
	$(BIN)/python -m pytest -n 2

check: $(VENV)/.ready-$(EXTRA)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(VENV)/.ready-$(EXTRA)
	@for script in chaos verify rollout_ladder rollout_wall rl_learns extraction_html dedup filters; do echo "== $$script"; $(BIN)/python benchmarks/$$script.py || exit 1; done

$(VENV)/.ready-$(EXTRA): pyproject.toml constraints/pinned.txt constraints/overrides.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python $(PINS) --editable ".[$(EXTRAS)]"
	@rm -f $(VENV)/.ready-* && touch $@

clean:
	rm -rf $(VENV) runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
