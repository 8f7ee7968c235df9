# Every target sets up what it needs: a virtual environment in this folder, and the packages in it.
PYTHON ?= python3
BIN := .venv/bin
OUT ?= runs/quickstart
SAMPLE ?= runs/sample
# One thread for each worker: two OpenMP teams on few cores are slower than one thread each.
export OMP_NUM_THREADS ?= 1

.PHONY: quickstart test lint type clean

$(BIN)/.run: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/python -m pip install -q torch==2.13.0 -e '.[html,memory]'
	touch $@

$(BIN)/.dev: $(BIN)/.run
	$(BIN)/python -m pip install -q torch==2.13.0 -e '.[dev]'
	touch $@

quickstart: $(BIN)/.run
	$(BIN)/tierline models pull smollm2-135m qwen2.5-coder-0.5b
	$(BIN)/tierline sample $(SAMPLE) --pages 700
	$(BIN)/tierline run configs/quickstart.yaml --out $(OUT)
	$(BIN)/tierline ask $(OUT) "What exception does division by zero raise?" \
	  "What does the not operator yield if its argument is false?" "When is the body of a function executed?"
	$(BIN)/tierline report $(OUT)

test: $(BIN)/.dev
	$(BIN)/python -m pytest

lint: $(BIN)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

type: $(BIN)/.dev
	$(BIN)/mypy
	$(BIN)/mypy benchmarks

clean:
	rm -rf .venv runs
