import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastmesh.errors import WrongValue
from fastmesh.units import (
    DURATION_PATTERN,
    MAX_DURATION,
    MAX_SIZE,
    format_duration,
    format_percent,
    format_size,
    parse_duration,
    parse_percent,
    parse_size,
)

MS, S = 1_000_000, 1_000_000_000


@pytest.mark.parametrize(("text", "ns"), [
    ("0", 0), ("0s", 0), ("1ms", MS), ("250ms", 250 * MS), ("1s", S), ("1.5s", 1500 * MS), ("0.5ms", MS // 2),
    ("0.000001ms", 1), ("2m", 120 * S), ("1h", 3600 * S), ("8760h", MAX_DURATION), ("007s", 7 * S)])
def test_durations(text, ns):
    assert parse_duration(text) == ns


@pytest.mark.parametrize(("text", "message", "hint"), [
    ("10 sec", "found '10 sec', allowed: a number with one of ms, s, m, h", "write 10s"),
    ("10", "found '10', allowed: a number with one of ms, s, m, h", "write 10s"),
    ("10S", "found '10S', allowed: a number with one of ms, s, m, h", "write 10s"),
    ("5min", "found '5min', allowed: a number with one of ms, s, m, h", "write 5m"),
    ("1d", "found '1d', allowed: a number with one of ms, s, m, h", ""),
    ("1m30s", "found '1m30s', allowed: a number with one of ms, s, m, h", ""),
    ("-1s", "found '-1s', allowed: a number with one of ms, s, m, h", ""),
    ("", "found '', allowed: a number with one of ms, s, m, h", ""),
    ("s", "found 's', allowed: a number with one of ms, s, m, h", ""),
    (".5s", "found '.5s', allowed: a number with one of ms, s, m, h", ""),
    ("1e3ms", "found '1e3ms', allowed: a number with one of ms, s, m, h", ""),
    ("\u0661s", "found '\u0661s', allowed: a number with one of ms, s, m, h", ""),
    ("1s\n", "found '1s\\n', allowed: a number with one of ms, s, m, h", "write 1s"),
    ("0.0000001ms", "found '0.0000001ms', allowed: a whole number of nanoseconds", ""),
    ("8761h", "found '8761h', allowed: at most 8760h", ""),
])
def test_wrong_durations(text, message, hint):
    with pytest.raises(WrongValue) as caught:
        parse_duration(text)
    assert (str(caught.value), caught.value.hint) == (message, hint)


@pytest.mark.parametrize(("text", "size"), [
    ("0", 0), ("1B", 1), ("64KiB", 65536), ("1.5KiB", 1536), ("1MiB", 1 << 20), ("2GiB", 2 << 30), ("0.5B", None),
    ("1024GiB", MAX_SIZE), ("1025GiB", None), ("64", None), ("64KB", None), ("64k", None), ("64 KiB", None)])
def test_sizes(text, size):
    if size is not None:
        assert parse_size(text) == size
    else:
        with pytest.raises(WrongValue):
            parse_size(text)


@pytest.mark.parametrize(("text", "hint"), [
    ("64", "write 64B"), ("64k", "write 64KiB"), ("64KB", "write 64KiB"), ("1 GB", "write 1GiB"), ("1Mi", "write 1MiB"),
    ("1TiB", "")])
def test_hints_for_sizes(text, hint):
    with pytest.raises(WrongValue) as caught:
        parse_size(text)
    assert caught.value.allowed == "a number with one of B, KiB, MiB, GiB"
    assert caught.value.hint == hint


@pytest.mark.parametrize(("text", "millionths"), [
    ("0%", 0), ("50%", 500_000), ("0.01%", 100), ("99.9999%", 999_999), ("100%", 1_000_000)])
def test_percentages(text, millionths):
    assert parse_percent(text) == millionths
    assert parse_percent(format_percent(millionths)) == millionths


@pytest.mark.parametrize(("text", "message", "hint"), [
    ("50", "found '50', allowed: a number from 0 to 100 with %", "write 50%"),
    ("101%", "found '101%', allowed: a number from 0 to 100 with %", ""),
    ("50 %", "found '50 %', allowed: a number from 0 to 100 with %", "write 50%"),
    ("half", "found 'half', allowed: a number from 0 to 100 with %", ""),
    ("0.00001%", "found '0.00001%', allowed: at most 4 digits after the point", "")])
def test_wrong_percentages(text, message, hint):
    with pytest.raises(WrongValue) as caught:
        parse_percent(text)
    assert (str(caught.value), caught.value.hint) == (message, hint)


@given(st.integers(0, MAX_DURATION))
def test_a_duration_survives_being_written(ns):
    assert parse_duration(format_duration(ns)) == ns


@given(st.integers(0, MAX_SIZE))
def test_a_size_survives_being_written(size):
    assert parse_size(format_size(size)) == size


@given(st.integers(0, 1_000_000))
def test_a_percentage_survives_being_written(millionths):
    assert parse_percent(format_percent(millionths)) == millionths


@given(st.from_regex(DURATION_PATTERN, fullmatch=True))
def test_what_the_schema_takes_is_a_duration_or_out_of_range(text):
    try:
        parse_duration(text.removesuffix("\n"))
    except WrongValue as wrong:
        assert wrong.allowed in ("at most 8760h", "a whole number of nanoseconds")


@example("0.00001")
@given(st.one_of(st.text(), st.text("0123456789.msh% KiBG")))
def test_any_text_is_parsed_or_refused(text):
    for parse in (parse_duration, parse_size, parse_percent):
        try:
            assert parse(text) >= 0
        except WrongValue as wrong:
            assert wrong.found == repr(text)
            if wrong.hint:
                parse(wrong.hint.removeprefix("write "))
