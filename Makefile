# What is done often. Python comes from the environment that bootstrap.py makes.
PYTHON ?= .venv/bin/python

.PHONY: test faults lab docs site screens bench bench-quick check

check:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy

test:
	$(PYTHON) -m pytest -n auto

# Every promise with its full count, about an hour long; writes the table of docs/reliability.md.
faults:
	$(PYTHON) tests/faults/full.py $(ARGS)

lab:
	UPDATE_ALL_TEST_LAB=1 $(PYTHON) -m pytest tests/lab

# What is shipped and derives from the parsers: completions and the manual page.
docs:
	$(PYTHON) tools/generate.py

# The documentation site, into build/site/html.
site:
	$(PYTHON) tools/docs_site.py

# The pictures of docs/, from the real program in a real terminal. Needs tmux and chromedriver.
screens:
	$(PYTHON) tools/screens.py

# Everything beside its peers, in under twenty minutes: writes docs/performance.md and docs/performance.json.
bench:
	$(PYTHON) -m benchmarks

# The same with small work, into a scratch directory: shows that it runs, its figures mean nothing.
bench-quick:
	$(PYTHON) -m benchmarks --quick --into build/bench
