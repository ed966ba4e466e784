"""`python -m fastmesh` is the `fastmesh` command."""

from fastmesh.cli.main import main

raise SystemExit(main())
