"""What an answer that a filter gives may be: the same in a worker and in a filter host."""

# The status, when an answer may have it. Raises ValueError.
cpdef int answer_status(object status) except -1
# The body that was given in one of three forms, or b"", and its content type or None. Raises TypeError.
cpdef tuple answer_body(str text, object json, object body)
cpdef bint answer_is_bodiless(object status) except -1
