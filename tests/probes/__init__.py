"""Doors for tests onto functions of the compiled core; never part of a wheel."""
