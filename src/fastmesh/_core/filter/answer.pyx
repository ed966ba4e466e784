"""See answer.pxd."""


cpdef int answer_status(object status) except -1:
    if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= 599:
        raise ValueError(f"a status of {status!r}: whole numbers from 200 to 599 are allowed")
    return status


cpdef tuple answer_body(str text, object json, object body):
    if (text is not None) + (json is not None) + (body is not None) > 1:
        raise TypeError("an answer has one body: give text, json or body")
    if json is not None:
        from json import dumps

        return dumps(json, separators=(",", ":"), ensure_ascii=False).encode(), "application/json"
    if text is not None:
        return text.encode(), "text/plain; charset=utf-8"
    if body is not None:
        return bytes(body), "application/octet-stream"
    return b"", None


cpdef bint answer_is_bodiless(object status) except -1:
    """No answer with this status has a body (RFC 9110, sections 15.3.5, 15.3.6 and 15.4.5)."""
    return status in (204, 205, 304)
