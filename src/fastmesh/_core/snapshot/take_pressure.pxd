"""The part of a snapshot that says what a worker may use of the machine."""
from fastmesh._core.resil.pressure cimport pressure_settings_t
from fastmesh._core.snapshot.take cimport take_t

# From the item `overload`; nil means that nothing is looked at. False after a refusal.
cdef bint take_pressure(take_t *t, pressure_settings_t *p) noexcept nogil
