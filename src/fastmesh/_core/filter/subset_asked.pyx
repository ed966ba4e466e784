"""See subset_asked.pxd."""
from collections.abc import Mapping

from libc.stdint cimport uint32_t
from fastmesh._core.filter.headers cimport text_of
from fastmesh._core.lb.subset cimport (
    SUBSET_KEYS_MAX, subset_pair_t, subset_pairs, subset_selector_t, subsets_selector, subsets_t)
from fastmesh._core.mem.span cimport span_of, span_t
from fastmesh._core.route.subset_rule cimport subset_word_value


cdef inline str _text(span_t s):
    return text_of(s.ptr, s.len)


def subset_words(words):
    """Checked, as a dict; None for all endpoints. Raises TypeError."""
    cdef dict found
    if words is None:
        return None
    if not isinstance(words, Mapping):
        raise TypeError(f"subset = {words!r}: names and values are allowed, as {{'version': 'v2'}}, or None for all "
                        "endpoints")
    found = dict(words)
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"names and values of a subset are str: {name!r}: {value!r}")
    return found or None


cdef SubsetAsked subset_asked(stream_t *s, object words):
    cdef SubsetAsked made = SubsetAsked.__new__(SubsetAsked)
    cdef subset_pair_t pairs[SUBSET_KEYS_MAX]
    cdef list named = sorted([(key.encode(), text.encode()) for key, text in words.items()])
    cdef list kept = []
    cdef bytes name, value
    cdef uint32_t i
    if s.cluster is NULL:
        raise ValueError("this route answers by itself: no endpoint is chosen, so there is no subset to choose it from")
    if s.cluster.subsets is NULL:
        raise ValueError(f"the cluster {_text(s.cluster.name)!r} has no subsets: give it some in the configuration, as "
                         f"subsets: {{selectors: [{{keys: [{', '.join(words)}]}}]}}")
    for i, (name, value) in enumerate(named[:SUBSET_KEYS_MAX]):
        kept += (name, value)
        pairs[i].name = span_of(<const unsigned char *><char *>name, <uint32_t>len(name))
        pairs[i].value = span_of(<const unsigned char *><char *>value, <uint32_t>len(value))
        made.words[i].name = pairs[i].name
        made.words[i].value = pairs[i].value
        made.words[i].has_value = 1
    if len(named) > SUBSET_KEYS_MAX or subsets_selector(<const subsets_t *>s.cluster.subsets, pairs,
                                                        <uint32_t>len(named)) < 0:
        raise ValueError(f"no selector of the cluster {_text(s.cluster.name)!r} has {' and '.join(words)}: there "
                         f"{_selectors(<const subsets_t *>s.cluster.subsets)}")
    made.kept = tuple(kept)
    made.rule.cluster = s.cluster.index
    made.rule.n = <uint32_t>len(named)
    made.rule.words = made.words
    return made


cdef str _selectors(const subsets_t *v):
    cdef const subset_selector_t *one
    cdef list found = []
    cdef uint32_t k
    for k in range(v.n_selectors):
        one = &v.selectors[k]
        found.append(" and ".join([_text(one.names[i]) for i in range(one.n)]))
    return f"{'is' if len(found) == 1 else 'are'} {'; '.join(found)}"


cdef bint subset_needs_head(const stream_t *s) noexcept:
    cdef const subset_rule_t *rule = s.subset
    cdef uint32_t i
    if s.subset_how != 0 or rule is NULL or s.cluster is NULL or rule.cluster != s.cluster.index:
        return False
    for i in range(rule.n):
        if rule.words[i].header.len != 0:
            return True
    return False


cdef dict subset_told(stream_t *s, const msg_t *m):
    cdef subset_pair_t pairs[SUBSET_KEYS_MAX]
    cdef const subset_rule_t *rule = s.subset
    cdef dict found = {}
    cdef span_t value
    cdef uint32_t i, n
    if s.cluster is NULL:
        return None
    if s.subset_how != 0:
        n = subset_pairs(s.cluster, pairs)
        for i in range(n):
            found[_text(pairs[i].name)] = _text(pairs[i].value)
    elif rule is not NULL and rule.cluster == s.cluster.index:
        for i in range(rule.n):
            if subset_word_value(&rule.words[i], m, &value):
                found[_text(rule.words[i].name)] = _text(value)
    return found or None
