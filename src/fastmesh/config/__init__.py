"""What the operator writes: the models, the loading of YAML with positions, and the checks.

Nothing is imported here: the command line answers `--help` without pydantic, and the rest is
imported where it is used.
"""

import os

# Plugins of pydantic belong to other programs of this environment; looking for them takes 10 ms of each start.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
