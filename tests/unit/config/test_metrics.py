"""Labels by which requests are counted: what may be written, and what is said when it may not."""

import msgpack
import pytest

from fastmesh.config.load import Loaded, load_text
from fastmesh.errors import ConfigError
from fastmesh.filters.inspection import inspect
from fastmesh.snapshot.compiler import as_written, compile
from fastmesh.snapshot.registry import Registry
from fastmesh.snapshot.wire import FORMAT

TEXT = """metrics: {metrics}
listeners:
  - {{name: web, address: "127.0.0.1:1", filters: [{filters}], routes: [{{match: {{prefix: /}}, cluster: app}}]}}
clusters:
  - {{name: app, endpoints: ["127.0.0.1:2"]}}
"""


def loaded(metrics: str, filters: str = "{use: request-id}") -> Loaded:
    return load_text(TEXT.format(metrics=metrics, filters=filters), "f", {}, inspect)


@pytest.mark.parametrize(("metrics", "labels", "values"), [
    ("{labels: [tenant]}", ["tenant"], 100), ("{labels: [a, b, _c, D9], values: 1000}", ["a", "b", "_c", "D9"], 1000),
    ("{values: 3}", [], 3), ("{labels: []}", [], 100), ("{}", [], 100), ("", [], 100)])
def test_what_is_written(metrics: str, labels: list[str], values: int) -> None:
    found = loaded(metrics, "")
    assert (found.config.metrics.labels, found.config.metrics.values) == (labels, values)
    snapshot = msgpack.unpackb(compile(found.config, 1, Registry(), 64)[0])
    assert snapshot[1] == FORMAT and snapshot[3][4] == ([labels, values] if labels else None)
    assert as_written(found.config)["metrics"] == {"labels": labels, "values": values, "routes": "named"}


@pytest.mark.parametrize(("metrics", "said", "hint"), [
    ("{labels: [my-tenant]}", "f:1:20: metrics.labels[0]: found 'my-tenant', allowed: a label that a filter sets, of "
     "at most 64 letters, digits and _, and no digit first", "Prometheus allows nothing else as a name"),
    ("{labels: [9a]}", "found '9a'", "Prometheus"), ("{labels: ['']}", "found ''", "Prometheus"),
    ("{labels: [" + "a" * 65 + "]}", "found 'aaa", "Prometheus"), ("{labels: [[a]]}", "found a list", "Prometheus"),
    ("{labels: [ünï]}", "found 'ünï'", "Prometheus"),
    ("{labels: [route]}", "found 'route', allowed: a name that is not taken, as listener, route, cluster, code_class, "
     "le and all with __ first are", "let the filter set the label by another name"),
    ("{labels: [le]}", "found 'le'", "another name"), ("{labels: [__x]}", "found '__x'", "another name"),
    ("{labels: [a, b, a]}", "f:1:19: metrics.labels: found a twice, allowed: each label once", ""),
    ("{labels: [a, b, c, d, e]}", "metrics.labels: ", ""), ("{values: 0}", "metrics.values: found '0'", ""),
    ("{values: 1001}", "metrics.values: found '1001', allowed: a whole number from 1 to 1000", ""),
    ("{routes: some}", "found 'some', allowed: named, all or none", ""),
    ("{label: [a]}", "unknown key 'label'", "write labels")])
def test_what_is_refused(metrics: str, said: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(metrics)
    (problem,) = caught.value.problems
    assert said in str(problem) and hint in problem.hint, (str(problem), problem.hint)


def test_labels_that_nobody_sets_are_doubtful() -> None:
    assert [str(warning) for warning in loaded("{labels: [tenant]}", "").warnings] == [
        "f:1:19: metrics.labels: no request has a label: there are no filters, which set them"]
    assert loaded("{labels: [tenant]}").warnings == []
