"""The demonstration: three services, a sidecar beside each, live traffic, and what can go wrong with it.

Not part of the package. `python -m demo --help` says what can be turned.
"""
