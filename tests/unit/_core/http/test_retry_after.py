"""How long an answer asks to be left alone."""

import pytest

from probes import http_probe

DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"
YEAR = 31_536_000


@pytest.mark.parametrize(("value", "date", "seconds"), [
    (b"120", None, 120), (b"0", None, 0), (b"1", DATE, 1), (b"007", None, 7), (b"99999999999999999999", None, YEAR),
    (b"Sun, 06 Nov 1994 08:50:37 GMT", DATE, 60), (b"Mon, 07 Nov 1994 08:49:37 GMT", DATE, 86_400),
    (b"Thu, 01 Dec 1994 08:49:37 GMT", DATE, 25 * 86_400), (b"Fri, 06 Nov 2015 08:49:37 GMT", DATE, YEAR),
    (b"Sun, 06 Nov 1994 08:49:36 GMT", DATE, 0), (DATE, DATE, 0), (DATE, None, 0), (DATE, b"soon", 0),
    (b"Tue, 29 Feb 2000 00:00:00 GMT", b"Mon, 28 Feb 2000 23:59:59 GMT", 1),
    (b"Wed, 01 Mar 2000 00:00:00 GMT", b"Tue, 29 Feb 2000 00:00:00 GMT", 86_400),
    (b"Mon, 01 Mar 2100 00:00:00 GMT", b"Sun, 28 Feb 2100 00:00:00 GMT", 86_400),
    (b"Sun, 01 Jan 2017 00:00:00 GMT", b"Sat, 31 Dec 2016 23:59:60 GMT", 0),
])
def test_what_it_says(value, date, seconds):
    assert http_probe.retry_after(value, date) == seconds


@pytest.mark.parametrize("value", [
    b"", b"-1", b"1s", b"1.5", b"12 ", b"\xff" * 29, b"x" * 29, b"Sun, 06 Nov 1994 08:49:37 UTC",
    b"Sun, 06 nov 1995 08:49:37 GMT", b"Sun, 00 Nov 1995 08:49:37 GMT", b"Sun, 32 Nov 1995 08:49:37 GMT",
    b"Sun, 06 Nov 1995 24:49:37 GMT", b"Sun, 06 Nov 1995 08:60:37 GMT", b"Sun, 06 Nov 1995 08:49:61 GMT",
    b"Sun, 06 Nov 1969 08:49:37 GMT", b"Sun, 06 Nov 19x5 08:49:37 GMT", b"Sun, 06-Nov-1995 08:49:37 GMT",
    b"Sunday, 06-Nov-95 08:49:37 GMT", b"Sun Nov  6 08:49:37 1995"])
def test_what_says_nothing(value):
    assert http_probe.retry_after(value, DATE) == 0
