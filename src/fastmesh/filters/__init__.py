"""Filters and policies in Python: the public API, how they are loaded, and those that come with fastmesh."""
