# `make help` lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
BIN := .venv/bin
PYTHON ?= python3

.venv/.installed: pyproject.toml requirements.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet "$$(grep '^uv==' requirements.lock)"
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

setup: .venv/.installed ## Install everything into .venv/

run: setup ## Start the whole platform with sample data and print what to try (Ctrl-C stops it)
	@$(BIN)/mesocycle up

test: setup ## Run all tests (they start a Postgres of their own)
	@$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

check: setup ## Lint, types, import rules, SQL format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/sqlfmt --check --quiet dbt_project/models dbt_project/tests # macros are Jinja programs, which it cannot lay out

format: setup ## Format Python and SQL
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/sqlfmt --quiet dbt_project/models dbt_project/tests

bench: setup ## Run every benchmark in full (long); results go to benchmarks/results/
	@mkdir -p benchmarks/results
	@for file in $$(grep -l '^if __name__ == "__main__"' benchmarks/*.py); do \
	  name=$$(basename $$file .py); \
	  echo "== $$name"; $(BIN)/python -m benchmarks.$$name --json benchmarks/results/$$name.json || exit 1; \
	done

lock: ## Resolve pyproject.toml again into requirements.lock
	@$(BIN)/uv pip compile --quiet pyproject.toml --group dev --python-version 3.11 --no-header --no-emit-index-url --no-annotate -o requirements.lock

help: ## This list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /\1\t/' | while IFS=$$'\t' read -r name text; do printf '  make %-8s %s\n' "$$name" "$$text"; done

.PHONY: setup run test check format bench lock help
