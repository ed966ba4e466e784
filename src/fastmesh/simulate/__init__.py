"""Balancers against made-up services: the compiled picks, with a clock that jumps from event to event."""
