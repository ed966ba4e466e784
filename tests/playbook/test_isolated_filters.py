"""Isolated filters do what filters in place do: the same tests, with a stand-in in the worker and the filter in a host.

Left out is what cannot be alike: a generator without end is held back by whoever does not take what it gives, not
counted; a host does not know which clusters there are, so the worker finds out; and labels that are set in
on_complete come too late.
"""

from collections.abc import Iterator

import pytest
from playbook import test_filter_bodies, test_filters
from playbook.conftest import FAILED
from playbook.hosted import HostedPlay

OTHERWISE = {"test_a_generator_without_end_is_stopped", "test_a_cluster_that_is_not_there",
             "test_state_and_labels_of_an_exchange", "test_an_error_in_a_piece_that_is_forgiven"}

globals().update({name: test for module in (test_filters, test_filter_bodies) for name, test in vars(module).items()
                  if name.startswith("test_") and name not in OTHERWISE})


@pytest.fixture(params=["ready", "completion"])
def play(request: pytest.FixtureRequest, spare_descriptor: None) -> Iterator[HostedPlay]:
    made = HostedPlay(request.param)
    try:
        yield made
        if request.node.stash.get(FAILED, False):
            made.abandon()
        else:
            made.end()
            assert made.calls.exchanges == {} and made.calls.running == {} and made.host.pending == {}
            assert made.nonsense == []
    finally:
        made.shut()
