"""What an endpoint costs at present: a peak-sensitive average of its response times, which fades with time.

A sample above the present value replaces it at once, a lower one is mixed in by the time since the last: an endpoint
that becomes slow is noticed with the first slow answer, one that recovers is believed step by step. What is not asked
fades towards nothing, so that it is asked again. (Finagle's PeakEwma, 2016.)
"""
from libc.stdint cimport int64_t, uint64_t
from fastmesh._core.lb.endpoint cimport endpoint_live_t

cdef extern from *:
    """
    /* 2^-x within 0.3 %, for x >= 0: the series of 2^-f up to its fourth power, and the exponent by its bits. Falls
     * strictly, over the seams too. */
    static inline double fm_fade(double x) {
        union { uint64_t u; double d; } scale;
        int whole;
        double f;
        if (!(x < 1000.0)) return 0.0;
        whole = (int)x;
        f = x - whole;
        scale.u = (uint64_t)(1023 - whole) << 52;
        return scale.d * (1.0 - f * (0.693147181 - f * (0.240226507 - f * (0.055504109 - f * 0.009618129))));
    }
    """
    double fm_fade(double x) noexcept nogil


cdef inline double ewma_rate(uint64_t decay_ns) noexcept nogil:
    """Halvings per nanosecond of a value that fades to 1/e in `decay_ns`."""
    return 1.4426950408889634 / <double>(decay_ns if decay_ns != 0 else 1)


cdef inline double ewma_age(const endpoint_live_t *live, uint64_t now_ns, double rate) noexcept nogil:
    """Halvings since the last news. Signed numbers become floating-point ones in one instruction."""
    return <double><int64_t>((now_ns - live.cost_at_ns) >> 1) * (2 * rate)


cdef inline double ewma_now(const endpoint_live_t *live, uint64_t now_ns, double rate) noexcept nogil:
    # A clock that stands, or was read a moment earlier, does not make a value grow.
    if now_ns <= live.cost_at_ns:
        return live.cost_ns
    return live.cost_ns * fm_fade(ewma_age(live, now_ns, rate))


cdef inline void ewma_peak(endpoint_live_t *live, double took_ns, uint64_t now_ns, double rate) noexcept nogil:
    """It costs at least so much."""
    if live.cost_at_ns == 0 or took_ns > ewma_now(live, now_ns, rate):
        live.cost_ns = <float>took_ns
        live.cost_at_ns = now_ns if now_ns != 0 else 1


cdef inline void ewma_add(endpoint_live_t *live, double took_ns, uint64_t now_ns, double rate) noexcept nogil:
    cdef double present = ewma_now(live, now_ns, rate)
    cdef double kept
    if live.cost_at_ns == 0 or took_ns >= present:
        live.cost_ns = <float>took_ns
    else:
        kept = fm_fade(ewma_age(live, now_ns, rate)) if now_ns > live.cost_at_ns else 1.0
        live.cost_ns = <float>(present + took_ns * (1.0 - kept))
    if now_ns > live.cost_at_ns:
        live.cost_at_ns = now_ns
    elif live.cost_at_ns == 0:
        live.cost_at_ns = 1
