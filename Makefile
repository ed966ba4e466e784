PY := .venv/bin/python
.PHONY: build
build:
	FASTMESH_ONLY="$(ONLY)" $(PY) setup.py -q build_ext --inplace -j2
