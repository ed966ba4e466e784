"""The benchmark: fastmesh beside nginx, HAProxy and Envoy, and above the floor of the kernel.

`python -m bench --help` says how to run it, `docs/performance.md` how it measures.
"""
