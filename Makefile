# Everything a newcomer needs is `make demo` and `make test`; both set themselves up in .venv.

VENV = .venv
BIN = $(VENV)/bin
STEP = tools/step
export VENV

# What `make demo` shows: a guest stopped in mid-computation, moved between two unlike hosts, and finished there.
DEMO = model:sme-max model:sme-nested --vls 1-4 --sme-vls 1,2,4 --guest examples/sme-matmul.elf --at-marker 3

.NOTPARALLEL:
.PHONY: help demo test test-long test-lab lint format bench pins clean venv-run venv-dev

help:
	@echo 'make demo      move a VM between two unlike hosts, in the model'
	@echo 'make test      everything that must pass before a change goes in'
	@echo 'make test-long every pair of hosts, every stop point: the numbers behind the tests'
	@echo 'make test-lab  the same rules tried on real kernels, under QEMU (fetches them)'
	@echo 'make lint      the part of it that reads the code'
	@echo 'make format    lay the code out'
	@echo 'make bench     measure'
	@echo 'make pins      pin the newest packages that pyproject.toml allows'
	@echo 'make clean     remove everything that was made'

demo: venv-run
	@$(BIN)/armkvm migrate $(DEMO)

test: lint
	@STEP_LAST=1 $(STEP) tests $(BIN)/python -m pytest -q -n auto --hypothesis-profile=ci

test-long: venv-dev
	@STEP_LAST=1 $(STEP) tests $(BIN)/python -m pytest -q -n auto -m long

test-lab: venv-dev
	@tools/try-lab

lint: venv-dev
	@$(STEP) rules $(BIN)/ruff check
	@$(STEP) layout $(BIN)/ruff format --check
	@$(STEP) types $(BIN)/mypy
	@$(STEP) layers $(BIN)/lint-imports --no-logo

format: venv-dev
	@$(BIN)/ruff check --fix --quiet && $(BIN)/ruff format --quiet

bench: venv-run
	@for program in bench/*.py; do $(BIN)/python "$$program" || exit; done

pins:
	@"$${PYTHON:-python3}" tools/pin-requirements

clean:
	@rm -rf $(VENV) $(VENV).lock .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage dist build
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

venv-run:
	@tools/setup-venv run

venv-dev:
	@tools/setup-venv dev
