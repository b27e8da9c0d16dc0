# The one door to hushwire for people and CI. `make help` lists what there is.
# What make itself says goes to stderr, so that `make demo ARGS=--json | jq` works.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

STAMPS := build/stamps
BIN := .venv/bin
ARGS ?=
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
# Fourteen targets, two at once on two cores: ten minutes.
SECONDS_EACH ?= 85
# The browser phone of the tests: JsSIP in one file.
WEB_PHONE := build/web/phone.js
# The message centre of the tests: a package of npm.
MESSAGE_CENTRE := build/smsc/node_modules/smpp/package.json
CONFIG ?= config/hushwire.toml
NATIVE := $(shell find native -type f \( -name '*.cpp' -o -name '*.hpp' -o -name 'CMakeLists.txt' -o -name '*.cmake' \) 2>/dev/null)
# Roles of a hushwire started by root become `nobody`, who can't enter a checkout below /root: then the environment lies in /opt.
CLOSED := $(shell [ "$$(id -u)" -eq 0 ] && command -v setpriv >/dev/null && ! (setpriv --reuid 65534 --regid 65534 --clear-groups test -x "$(CURDIR)") 2>/dev/null && echo yes)
HOME_OF_VENV := $(if $(CLOSED),/opt/hushwire-$(shell printf %s "$(CURDIR)" | cksum | cut -d' ' -f1),.venv)
HOW := $(if $(CLOSED),.,-e .)
PYTHON_SOURCES := $(if $(CLOSED),$(shell find src -name '*.py' -o -name '*.sql'))

.PHONY: help setup demo run test drill lint format bench asan tsan native-test fuzz fuzz-coverage fuzz-planted lock clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMPS)/package  ## install what is missing and build: leaves .venv/bin/hushwire ready

demo: $(STAMPS)/package $(STAMPS)/apt-demo  ## the main job in one command (ARGS=--json, ARGS=--keep)
	@$(BIN)/hushwire demo $(ARGS)

run: $(STAMPS)/package  ## hushwire up with the example configuration (CONFIG=FILE)
	@$(BIN)/hushwire up --config $(CONFIG) $(ARGS)

test: $(STAMPS)/package $(STAMPS)/apt-test $(WEB_PHONE) $(MESSAGE_CENTRE)  ## the tests, in parallel (ARGS="-k name", JOBS=1)
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

drill: $(STAMPS)/package $(STAMPS)/apt-demo  ## call, erase, restore the old backup, prove that nothing comes back (ARGS=--json)
	@$(BIN)/python -m tests.drill $(ARGS)

lint: $(STAMPS)/package $(STAMPS)/apt-test  ## ruff, mypy --strict, import-linter, clang-format
	$(BIN)/ruff check src tests
	$(BIN)/ruff format --check src tests
	$(BIN)/mypy --strict src
	$(BIN)/lint-imports
	find native -name '*.cpp' -o -name '*.hpp' | xargs -r clang-format --dry-run -Werror

format: $(STAMPS)/package $(STAMPS)/apt-test  ## let the formatters write
	$(BIN)/ruff check --fix-only src tests
	$(BIN)/ruff format src tests
	find native -name '*.cpp' -o -name '*.hpp' | xargs -r clang-format -i

native-test: build/native/build.ninja  ## the native tests
	@cmake --build build/native -j $(JOBS) >&2
	@ctest --test-dir build/native --output-on-failure -j $(JOBS)

asan: build/asan/build.ninja $(STAMPS)/package $(STAMPS)/apt-test  ## AddressSanitizer, UndefinedBehaviorSanitizer: native tests, the program
	@cmake --build build/asan -j $(JOBS) >&2
	@ctest --test-dir build/asan --output-on-failure -j $(JOBS)
	@$(SANITIZED) HUSHWIRE_MEDIA=build/asan/hushwire-media $(BIN)/python -m pytest -q -n $(JOBS) $(SANITIZED_TESTS) $(ARGS)

tsan: build/tsan/build.ninja $(STAMPS)/package $(STAMPS)/apt-test  ## ThreadSanitizer: native tests, and tests/native against such a program
	@cmake --build build/tsan -j $(JOBS) >&2
	@$(SANITIZED) ctest --test-dir build/tsan --output-on-failure -j $(JOBS)
	@$(SANITIZED) HUSHWIRE_MEDIA=build/tsan/hushwire-media $(BIN)/python -m pytest -q -n $(JOBS) $(SANITIZED_TESTS) $(ARGS)

fuzz: $(STAMPS)/package $(STAMPS)/apt-test  ## ten minutes of fuzzing over all targets (SECONDS_EACH=60; docs/fuzzing.md)
	@$(BIN)/python -m tests.fuzz run --seconds-each $(SECONDS_EACH) --jobs $(JOBS)

fuzz-coverage: $(STAMPS)/package $(STAMPS)/apt-test  ## lines of each parser that its corpus runs; fails below 80 %
	@$(BIN)/python -m tests.fuzz coverage

fuzz-planted: $(STAMPS)/package $(STAMPS)/apt-test  ## each target must find the bug planted for it in a copy
	@$(BIN)/python -m tests.fuzz planted

bench: $(STAMPS)/package $(STAMPS)/apt-bench $(STAMPS)/apt-test $(MESSAGE_CENTRE)  ## measure media and signalling (docs/performance.md)
	@$(BIN)/python -m tests.bench $(ARGS)

lock: $(STAMPS)/apt-build  ## write docker/requirements.lock anew from pyproject.toml
	@sh docker/lock.sh

clean:  ## remove what was built (not .venv, not var/)
	rm -rf build

$(STAMPS)/apt-%: docker/apt-packages.txt docker/install-packages.sh
	@sh docker/install-packages.sh $* >&2
	@mkdir -p $(@D) && touch $@

# A machine that has npm from elsewhere keeps it: Debian's would not install beside it.
$(WEB_PHONE): tests/interop/jssip/package-lock.json tests/interop/jssip/package.json tests/interop/jssip/phone.mjs
	@command -v npm >/dev/null 2>&1 || sh docker/install-packages.sh web >&2
	@rm -rf $(@D) && mkdir -p $(@D) && cp $^ $(@D)
	@cd $(@D) && npm ci --no-audit --no-fund --loglevel=error >&2 && npm run --silent bundle > phone.js.new && mv phone.js.new phone.js

$(MESSAGE_CENTRE): tests/interop/smsc/package-lock.json tests/interop/smsc/package.json
	@command -v npm >/dev/null 2>&1 || sh docker/install-packages.sh web >&2
	@rm -rf build/smsc && mkdir -p build/smsc && cp $^ build/smsc
	@cd build/smsc && npm ci --no-audit --no-fund --loglevel=error >&2 && touch node_modules/smpp/package.json

$(STAMPS)/venv: docker/requirements.lock docker/choose-python.sh | $(STAMPS)/apt-build
	@python=$$(sh docker/choose-python.sh) && \
	  if [ "$$(readlink -f .venv/bin/python)" != "$$(readlink -f "$$python")" ]; then \
	    rm -rf .venv "$(HOME_OF_VENV)" && "$$python" -m venv "$(HOME_OF_VENV)" && \
	    { [ "$(HOME_OF_VENV)" = .venv ] || ln -sfn "$(HOME_OF_VENV)" .venv; }; \
	  fi >&2
	@echo 'hushwire: installing Python packages' >&2
	@$(HOME_OF_VENV)/bin/python -m pip install -q --disable-pip-version-check -r docker/requirements.lock >&2
	@touch $@

$(STAMPS)/package: $(STAMPS)/venv pyproject.toml $(NATIVE) $(PYTHON_SOURCES)
	@echo 'hushwire: building hushwire-media and installing the package' >&2
	@$(HOME_OF_VENV)/bin/python -m pip install -q --disable-pip-version-check --no-build-isolation --no-deps $(HOW) >&2
	@$(HOME_OF_VENV)/bin/python -m compileall -q src >&2 || true
	@touch $@

build/native/build.ninja: native/CMakeLists.txt | $(STAMPS)/apt-build
	@cmake -S native -B build/native -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DHUSHWIRE_TESTS=ON >&2

# All of it; a few tests ask less of such a program, since it is ten times slower.
SANITIZED_TESTS := tests/native
# The program's own report of a race or a leak ends it, and with it the test.
# Without CI: what the sanitizers leave out is skipped there by design, and is run without them.
SANITIZED := env -u CI ASAN_OPTIONS=detect_stack_use_after_return=1 UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1

build/asan/build.ninja: native/CMakeLists.txt | $(STAMPS)/apt-build
	@cmake -S native -B build/asan -G Ninja -DCMAKE_BUILD_TYPE=Debug -DHUSHWIRE_TESTS=ON -DHUSHWIRE_SANITIZE=address >&2

build/tsan/build.ninja: native/CMakeLists.txt | $(STAMPS)/apt-build
	@cmake -S native -B build/tsan -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DHUSHWIRE_TESTS=ON -DHUSHWIRE_SANITIZE=thread >&2
