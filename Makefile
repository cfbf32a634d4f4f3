# Two commands on a fresh machine: `make demo` shows the program, `make test` tests it.
# `make test-all` has what takes longer; `make docs` builds the pages of docs/.

PYTHON ?= python3
VENV ?= .venv
TEST_VENV ?= .venv-test
NEWEST_VENV ?= .venv-newest
TAKES ?= demo

.PHONY: demo test test-all docs clean

demo: $(VENV)/.ready
	mkdir -p $(TAKES)
	$(VENV)/bin/posemamba-live demo_videos/walk_turn.mp4 --headless --overwrite \
	  --export $(TAKES)/poses.npz --record $(TAKES)/walk.mp4
	@echo "look at $(TAKES)/walk.mp4; live: $(VENV)/bin/posemamba-live --camera 0"

test: $(TEST_VENV)/.ready
	scripts/system-packages.sh tests
	. $(TEST_VENV)/bin/activate && python -m pytest

# Both environments, the long tests, kills and fuzzers, and half an hour of soak.
test-all: test $(NEWEST_VENV)/.ready
	. $(TEST_VENV)/bin/activate && POSEMAMBA_FUZZ_RUNS=200 POSEMAMBA_TEST_KILLS=20 \
	  python -m pytest -m "long or not long" tests/test_fuzz*.py tests/test_endings.py tests/test_batch*.py
	. $(NEWEST_VENV)/bin/activate && python -m pytest
	. $(TEST_VENV)/bin/activate && python benchmarks/soak.py --minutes 30 --record

docs: $(TEST_VENV)/.ready
	$(TEST_VENV)/bin/pip install --quiet -e '.[docs]'
	$(TEST_VENV)/bin/mkdocs build --strict

$(VENV)/.ready: pyproject.toml scripts/environment.sh
	scripts/system-packages.sh program
	scripts/environment.sh $(PYTHON) $(VENV) '.'
	touch $@

# MediaPipe 0.10.21 is the last whose wheel carries models, against which ours are compared; it
# wants NumPy 1, as does pyarrow before 24. It has no wheels for Python 3.13 and later.
$(TEST_VENV)/.ready: pyproject.toml scripts/environment.sh
	scripts/environment.sh $(PYTHON) $(TEST_VENV) -e '.[dev]' 'numpy<2' 'pyarrow<24' mediapipe==0.10.21
	touch $@

# The newest of everything: NumPy 2, OpenCV 5, MediaPipe 1.x, which has no models.
$(NEWEST_VENV)/.ready: pyproject.toml scripts/environment.sh
	scripts/environment.sh $(PYTHON) $(NEWEST_VENV) -e '.[dev,rerun]' 'numpy>=2' 'mediapipe>=1'
	touch $@

clean:
	rm -rf $(VENV) $(TEST_VENV) $(NEWEST_VENV) $(TAKES) site
