# Every command of the project. What is longer than a few lines lives in scripts/.
VENV ?= .venv
BIN := $(VENV)/bin
SOURCES := webapp tasks wsgi.py migrations tests scripts gunicorn.conf.py
export VENV

.DEFAULT_GOAL := help
.PHONY: help install install-dev run test check lint format types contracts vendor lock clean

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: ## Make the virtual environment and install the pinned packages
	@scripts/install.sh run

install-dev: ## The same, with what checks and tests need
	@scripts/install.sh dev

run: install ## Start the console and its worker; Ctrl-C ends both (PORT, INSTANCE_DIR, ADMIN_PASSWORD)
	@exec $(BIN)/python scripts/run.py

test: install-dev ## Run every check and every test, with real servers and a real browser
	@scripts/test.sh

check: install-dev lint types contracts ## Run the checks and the fast tests
	@$(BIN)/pytest -n 2 -m "not browser and not fault and not postgres and not redis"

lint: install-dev ## Check style: Python, templates, shell, image, compose files, workflows
	@scripts/lint.sh

format: install-dev ## Format Python and mend what can be mended
	@$(BIN)/ruff check --fix --quiet $(SOURCES) || true
	@$(BIN)/ruff format $(SOURCES)

types: install-dev ## Check types
	@$(BIN)/mypy

contracts: install-dev ## Check who imports whom
	@$(BIN)/lint-imports --no-logo

vendor: install ## Fetch the pinned front-end files into static/vendor
	@$(BIN)/python scripts/vendor.py

lock: ## Pin the requirements*.in files anew (needs uv)
	@scripts/lock.sh

clean: ## Remove the environment and all caches; the data in instance/ stays
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage htmlcov
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
