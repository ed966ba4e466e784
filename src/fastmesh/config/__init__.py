"""What the operator writes: the models, the loading of YAML with positions, and the checks.

Nothing is imported here: the command line answers `--help` without pydantic, and the rest is
imported where it is used.
"""
