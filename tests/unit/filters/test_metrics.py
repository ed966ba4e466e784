"""Metrics of filters: from `self.metrics` to the text that Prometheus reads."""

import math
import os
import pickle
import re
from collections.abc import Iterator

import pytest

from fastmesh._core.mem.counter import LAYOUT
from fastmesh._core.mem.metric import Cell, Counter, CounterCell, Metric, MetricTable
from fastmesh.filters import metrics
from fastmesh.filters.metrics import TAKEN, MetricError, Metrics
from fastmesh.observe import families
from fastmesh.observe.names import SeriesNames
from fastmesh.observe.prometheus import Scene, exposition
from fastmesh.observe.stats import StatsFile, StatsShelf

NODE = {"service": "shop", "version": "v1", "namespace": "sales", "workload": "shop-v1", "cluster": ""}


@pytest.fixture(autouse=True)
def begin_anew() -> Iterator[None]:
    metrics.detach()
    yield
    metrics.detach()


@pytest.fixture
def shelf() -> Iterator[StatsShelf]:
    made = StatsShelf()
    yield made
    for file in made.files:
        file.close()


def worker(shelf: StatsShelf, slot: int = 0) -> StatsFile:
    """From now on this process counts as a fresh worker would."""
    file = shelf.take(slot)
    metrics.detach()
    metrics.attach(file.fd)
    return file


def text_of(shelf: StatsShelf) -> str:
    scene = Scene(stats=shelf, node=NODE, names=SeriesNames(), listeners={}, clusters={}, addresses={})
    return "".join(exposition(scene))


def shown(shelf: StatsShelf, prefix: str = "fastmesh_filter_") -> dict[str, str]:
    return dict(line.rsplit(" ", 1) for line in text_of(shelf).splitlines()
                if line.startswith(prefix) and not line.startswith("fastmesh_filter_series_overflow"))


# --- counting -------------------------------------------------------------------------------------------------------

def test_a_counter_without_labels(shelf: StatsShelf) -> None:
    worker(shelf)
    refused = Metrics("tenant").counter("refused", help="Requests\n without a tenant.")
    assert shown(shelf) == {"fastmesh_filter_tenant_refused_total": "0"}
    refused.inc()
    refused.inc(2.5)
    assert shown(shelf) == {"fastmesh_filter_tenant_refused_total": "3.5"}
    assert "# HELP fastmesh_filter_tenant_refused_total Requests without a tenant.\n" \
           "# TYPE fastmesh_filter_tenant_refused_total counter\n" in text_of(shelf)


def test_labels(shelf: StatsShelf) -> None:
    worker(shelf)
    seen = Metrics("f").counter("seen_total", labels=("method", "code"))
    assert shown(shelf) == {}
    seen.inc(method="GET", code=200)
    seen.inc(code=200, method="GET")
    bound = seen.labels(method='a"b\\c\nd', code="")
    bound.inc(5)
    assert bound.value == 5
    assert shown(shelf) == {'fastmesh_filter_f_seen_total{method="GET",code="200"}': "2",
                            'fastmesh_filter_f_seen_total{method="a\\"b\\\\c\\nd",code=""}': "5"}
    assert seen.labels(method="GET", code=200) is seen.labels(method="GET", code=200)


@pytest.mark.parametrize("given", [{}, {"b": "x"}, {"a": "x", "b": "y"}])
def test_labels_that_are_not_the_declared_ones(given: dict[str, str]) -> None:
    seen = Metrics("f").counter("seen", labels=("a",))
    with pytest.raises(TypeError, match="fastmesh_filter_f_seen_total: its labels are a; given were"):
        seen.inc(**given)
    with pytest.raises(TypeError, match="its labels are none; given were a"):
        Metrics("f").counter("plain").inc(a="x")


def test_a_gauge(shelf: StatsShelf) -> None:
    worker(shelf)
    depth = Metrics("f").gauge("depth", labels=("queue",))
    depth.set(5, queue="a")
    depth.inc(queue="a")
    depth.dec(2, queue="a")
    depth.labels(queue="b").set(-1.5)
    assert shown(shelf) == {'fastmesh_filter_f_depth{queue="a"}': "4", 'fastmesh_filter_f_depth{queue="b"}': "-1.5"}
    for value, text in ((math.inf, "+Inf"), (-math.inf, "-Inf"), (math.nan, "NaN"), (1e300, "1e+300")):
        depth.set(value, queue="b")
        assert shown(shelf)['fastmesh_filter_f_depth{queue="b"}'] == text


def test_a_histogram(shelf: StatsShelf) -> None:
    worker(shelf)
    sizes = Metrics("f").histogram("size", help="Bytes.", buckets=(1, 10, 100.5))
    for value in (0, 1, 1.5, 100.5, 101, -3):
        sizes.observe(value)
    name = "fastmesh_filter_f_size"
    assert shown(shelf) == {f'{name}_bucket{{le="1"}}': "3", f'{name}_bucket{{le="10"}}': "4",
                            f'{name}_bucket{{le="100.5"}}': "5", f'{name}_bucket{{le="+Inf"}}': "6",
                            f"{name}_sum": "201", f"{name}_count": "6"}
    assert (sizes.labels().count, sizes.labels().sum) == (6, 201.0)
    assert Metrics("g").histogram("t", labels=("x",)).labels(x="y").count == 0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_cannot_be_counted(value: float) -> None:
    m = Metrics("f")
    with pytest.raises(ValueError, match="cannot be observed"):
        m.histogram("h").observe(value)
    with pytest.raises(ValueError, match="cannot grow by"):
        m.counter("c").inc(value)
    with pytest.raises(ValueError, match="what goes both ways is a gauge"):
        m.counter("c").inc(-1)
    with pytest.raises(TypeError):
        m.counter("c").inc("1")  # type: ignore[arg-type]
    assert m.counter("c").labels().value == 0


def test_nothing_is_made_without_a_row_behind_it() -> None:
    for make in (CounterCell, Metric, lambda: Cell(Metrics("f").counter("c")),
                 lambda: Counter(object(), MetricTable(), 1 << 40, "x", "counter", (), ())):    # type: ignore[call-arg]
        with pytest.raises(TypeError):
            make()
    for one in (Metrics("f").counter("c"), MetricTable(), Metrics("f").counter("c").labels()):
        with pytest.raises(TypeError, match="pickled"):
            pickle.dumps(one)


# --- names ----------------------------------------------------------------------------------------------------------

def test_a_filter_s_name_becomes_a_valid_one(shelf: StatsShelf) -> None:
    worker(shelf)
    Metrics("Stamp@web-1 ü").counter("n").inc()
    assert shown(shelf) == {"fastmesh_filter_Stamp_web_1___n_total": "1"}


@pytest.mark.parametrize("name", ["", "1a", "a-b", "a b", "ü", "x" * 65, 'a"', "a\n"])
def test_names_that_are_none(name: str) -> None:
    m = Metrics("f")
    with pytest.raises(MetricError, match="does not begin with a digit"):
        m.counter(name)
    with pytest.raises(MetricError, match="a label is called"):
        m.counter("ok", labels=(name,))


@pytest.mark.parametrize(("declare", "said"), [
    (lambda m: m.counter("x", labels="method"), r"labels are a tuple of names, as \('method',\)"),
    (lambda m: m.counter("x", labels=("a", "a")), "each once"),
    (lambda m: m.counter("x", labels=tuple("abcdefg")), "allowed are 6"),
    (lambda m: m.counter("x", labels=("__name__",)), "a label is called '__name__'"),
    (lambda m: m.histogram("x", labels=("le",)), "own label is called le"),
    (lambda m: m.histogram("x", buckets=()), "0 buckets; allowed are 1 to 24"),
    (lambda m: m.histogram("x", buckets=range(25)), "25 buckets"),
    (lambda m: m.histogram("x", buckets=(1, 1)), "each above the one before"),
    (lambda m: m.histogram("x", buckets=(1, math.nan)), "each above the one before"),
    (lambda m: m.histogram("x", buckets=(1, math.inf)), r"\+Inf, is added"),
])
def test_declarations_that_are_wrong(declare, said: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(MetricError, match=said):
        declare(Metrics("f"))


def test_the_same_declaration_is_the_same_metric_and_another_an_error() -> None:
    m = Metrics("f")
    assert m.counter("n", help="N.", labels=("a",)) is m.counter("n", help="N.", labels=("a",))
    with pytest.raises(MetricError, match="declared twice, and differently"):
        m.counter("n", help="N.", labels=("b",))
    m.gauge("depth")
    with pytest.raises(MetricError, match="declared twice, and differently"):
        m.histogram("depth")


@pytest.mark.parametrize("other", ["sum", "count", "bucket"])
def test_a_histogram_s_own_names_are_taken(other: str) -> None:
    m = Metrics("f")
    m.histogram("t")
    with pytest.raises(MetricError, match=f"fastmesh_filter_f_t_{other}, but .* belongs to another of its own metrics"):
        m.gauge(f"t_{other}")
    again = Metrics("g")
    again.gauge(f"t_{other}")
    with pytest.raises(MetricError, match="belongs to another of its own"):
        again.histogram("t")


def test_two_filters_whose_names_become_one() -> None:
    Metrics("a_b").counter("c")
    with pytest.raises(MetricError, match=r"'a' declares fastmesh_filter_a_b_c_total, but .* belongs to filter 'a_b'"):
        Metrics("a").counter("b_c")
    with pytest.raises(MetricError, match="belongs to filter 'a_b'"):
        Metrics("a-b").counter("c")


def test_a_filter_that_is_gone_leaves_its_names() -> None:
    one = Metrics("a_b")
    one.counter("c")
    one.close()
    Metrics("a").counter("b_c")


def test_what_the_proxy_counts_itself_is_taken() -> None:
    own = {f.name for f in (*families.FILTER_PHASES.values(), *families.FILTERS.values(), families.FILTER_OVERFLOW)}
    assert own == TAKEN
    with pytest.raises(MetricError, match="is what the proxy itself counts"):
        Metrics("calls").gauge("total")


def test_a_declaration_has_room_for_so_much() -> None:
    with pytest.raises(MetricError, match="at most 1,000 are possible"):
        Metrics("x" * 900).counter("c")
    Metrics("f").counter("c", help="long " * 1000)
    for i in range(255):
        Metrics("f").gauge(f"g{i}")
    with pytest.raises(MetricError, match="there are 256 metrics of filters already"):
        Metrics("f").gauge("one_more")


# --- bounds ---------------------------------------------------------------------------------------------------------

def test_label_sets_are_bounded_and_the_rest_is_other(shelf: StatsShelf) -> None:
    file = worker(shelf)
    seen = Metrics("f").counter("seen", labels=("tenant",))
    for i in range(250):
        seen.inc(tenant=f"t{i}")
    found = shown(shelf)
    assert len(found) == 201 and found['fastmesh_filter_f_seen_total{tenant="other"}'] == "50"
    assert found['fastmesh_filter_f_seen_total{tenant="t199"}'] == "1"
    assert file.filter_overflow() == 50
    assert "fastmesh_filter_series_overflow_total 50\n" in text_of(shelf)
    seen.labels(tenant="t300").inc()
    seen.inc(tenant="other")
    assert shown(shelf)['fastmesh_filter_f_seen_total{tenant="other"}'] == "52"


def test_all_series_together_are_bounded() -> None:
    m = Metrics("f")
    made = [m.counter(f"c{i}", labels=("l",)) for i in range(11)]
    for metric in made:
        for i in range(200):
            metric.inc(l=i)
    assert sum(metric.labels(l=i).value for metric in made for i in range(200)) >= 2037
    assert metrics._table is not None and metrics._table.n_series == 2048
    with pytest.raises(MetricError, match="2,048 series of filters in this worker already"):
        m.counter("late")


def test_long_and_odd_values_are_cut_and_cost_no_memory(shelf: StatsShelf) -> None:
    worker(shelf)
    seen = Metrics("f").counter("seen", labels=tuple("abcdef"))
    long = dict.fromkeys("abcdef", "€" * 100)
    seen.inc(**long)
    seen.inc(**long | {"a": "€" * 101})
    seen.inc(**dict.fromkeys("abcdef", "\ud800"))
    name = "fastmesh_filter_f_seen_total"
    assert shown(shelf) == {f"{name}{{" + ",".join(f'{c}="{"€" * 21}"' for c in "abcdef") + "}": "2",
                            f"{name}{{" + ",".join(f'{c}="?"' for c in "abcdef") + "}": "1"}


# --- workers come and go --------------------------------------------------------------------------------------------

def test_workers_are_summed(shelf: StatsShelf) -> None:
    for slot, (count, depth) in enumerate(((3, 5), (4, 6))):
        worker(shelf, slot)
        m = Metrics("f")
        m.counter("n", labels=("a",)).inc(count, a="x")
        m.gauge("depth").set(depth)
        m.histogram("t", buckets=(1, 2)).observe(slot + 1)
    found = shown(shelf)
    assert found['fastmesh_filter_f_n_total{a="x"}'] == "7"
    assert found["fastmesh_filter_f_depth"] == "11"
    assert found['fastmesh_filter_f_t_bucket{le="1"}'] == "1" and found["fastmesh_filter_f_t_count"] == "2"


def test_a_worker_s_successor_counts_on(shelf: StatsShelf) -> None:
    file = worker(shelf)
    m = Metrics("f")
    m.counter("n").inc(3)
    m.counter("l", labels=("a",)).inc(2, a="x")
    m.gauge("depth").set(9)
    m.histogram("t", buckets=(1,)).observe(5)
    before = shown(shelf)
    file.is_taken = False
    gone = shown(shelf)
    assert gone == {key: value for key, value in before.items() if "depth" not in key}
    assert worker(shelf) is file
    assert shown(shelf) == gone | {"fastmesh_filter_f_depth": "0"}
    m = Metrics("f")
    m.counter("n").inc()
    m.counter("l", labels=("a",)).inc(a="x")
    m.histogram("t", buckets=(1,)).observe(5)
    found = shown(shelf)
    assert found["fastmesh_filter_f_n_total"] == "4"
    assert found['fastmesh_filter_f_l_total{a="x"}'] == "3"
    assert found["fastmesh_filter_f_t_count"] == "2"


def test_a_new_version_may_declare_otherwise(shelf: StatsShelf) -> None:
    worker(shelf)
    old = Metrics("f")
    old.counter("n").inc(5)
    new = Metrics("f")
    new.counter("n", labels=("a",)).inc(a="x")
    assert shown(shelf) == {'fastmesh_filter_f_n_total{a="x"}': "1"}
    old.counter("n").inc()          # streams that the old version still carries
    assert shown(shelf) == {'fastmesh_filter_f_n_total{a="x"}': "1"}
    old.renew()                     # the configuration of before is live again
    assert shown(shelf) == {"fastmesh_filter_f_n_total": "6"}


def test_a_version_that_is_refused_changes_nothing(shelf: StatsShelf) -> None:
    worker(shelf)
    old = Metrics("f")
    old.counter("n").inc(5)
    old.gauge("depth")
    before = shown(shelf)
    refused = Metrics("f")
    refused.counter("n", labels=("a",))
    refused.gauge("depth")
    refused.gauge("more")
    refused.withdraw()
    assert shown(shelf) == before
    with pytest.raises(MetricError):
        Metrics("f_n").gauge("total")


def test_of_two_versions_in_two_workers_the_later_is_shown(shelf: StatsShelf) -> None:
    worker(shelf, 0)
    Metrics("f").counter("n").inc(5)
    worker(shelf, 1)
    Metrics("f").gauge("n_total").set(2)
    assert shown(shelf) == {"fastmesh_filter_f_n_total": "2"}
    assert text_of(shelf).count("# TYPE fastmesh_filter_f_n_total") == 1


def test_counts_do_not_go_back_when_a_version_comes_again(shelf: StatsShelf) -> None:
    """One worker died with the first version; another has had the second one, and has the first again."""
    dead = worker(shelf, 0)
    Metrics("f").counter("n").inc(5)
    worker(shelf, 1)
    dead.is_taken = False
    Metrics("f").gauge("n_total").set(2)
    assert shown(shelf) == {"fastmesh_filter_f_n_total": "2"}
    Metrics("f").counter("n").inc(3)
    assert shown(shelf) == {"fastmesh_filter_f_n_total": "8"}


def test_a_worker_s_memory_that_is_nonsense_spoils_nothing(shelf: StatsShelf) -> None:
    file = worker(shelf)
    Metrics("f").counter("good").inc()
    for i, text in enumerate((b"\xc1", b"\x93\x01\x02\x03", os.urandom(900), b"",
                              b"\x96\xa9bad name\n\xa1f\xa7counter\xa0\x90\x90"), 1):
        row = LAYOUT["metrics"] + i * LAYOUT["metric_stride"]
        os.pwrite(file.fd, (1).to_bytes(8, "little") + (len(text)).to_bytes(8, "little") + bytes(8) + text, row)
    os.pwrite(file.fd, (1 << 60).to_bytes(8, "little") * 2, LAYOUT["metric_head"])
    assert shown(shelf) == {"fastmesh_filter_f_good_total": "1"}


def test_the_text_has_the_form_that_prometheus_wants(shelf: StatsShelf) -> None:
    worker(shelf)
    m = Metrics("f")
    m.counter("n", labels=("a", "b")).inc(a="x", b='"\\\n')
    m.histogram("t", labels=("a",), help='quo"te \\ back').observe(1, a="x")
    line = re.compile(r'^[a-zA-Z_:][a-zA-Z0-9_:]*(\{([a-z]+="([^"\\\n]|\\["\\n])*",?)*\})? [0-9.e+-]+$')
    lines = text_of(shelf).splitlines()
    assert all(line.match(one) for one in lines if not one.startswith("#"))
    assert '# HELP fastmesh_filter_f_t quo"te \\\\ back' in lines
