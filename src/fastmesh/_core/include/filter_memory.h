/* What filters may allocate in a worker: a hook around Python's allocators.

Counted is what Python takes from the C library (objects of more than 512 bytes, arenas for smaller ones), from the
moment of the hook on, whoever asks for it. Refused is only who asks within a filter, or in a thread that a filter has
started: the worker's own Python must go on, to tell what happened. Libraries that allocate by themselves are not seen.

The raw allocator may be called without the GIL, from any thread: what is counted is counted atomically. */
#ifndef FM_FILTER_MEMORY_H
#define FM_FILTER_MEMORY_H
#include <Python.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>

static volatile int64_t fm_memory_held = 0;
static volatile uint64_t fm_memory_most = 0;        /* 0: no limit */
static PyObject *volatile fm_inside = NULL;         /* the Slot whose filter runs on the data thread; borrowed */
static PyObject *volatile fm_memory_refused = NULL; /* the one that was refused something in this go; borrowed */
static pthread_t fm_data_thread;
static int fm_memory_is_hooked = 0;
static PyMemAllocatorEx fm_raw;
static PyObjectArenaAllocator fm_arenas;

static inline void fm_memory_count(int64_t n) {
    __atomic_fetch_add(&fm_memory_held, n, __ATOMIC_RELAXED);
}

static int fm_memory_is_over(size_t n) {
    uint64_t most = fm_memory_most;
    int64_t held = fm_memory_held;
    if (most == 0 || (n <= most && held + (int64_t)n <= (int64_t)most)) return 0;
    if (!pthread_equal(pthread_self(), fm_data_thread)) return 1;
    if (fm_inside == NULL) return 0;
    fm_memory_refused = fm_inside;
    return 1;
}

static void *fm_memory_malloc(void *unused, size_t n) {
    void *p;
    if (fm_memory_is_over(n)) return NULL;
    p = fm_raw.malloc(fm_raw.ctx, n);
    if (p != NULL) fm_memory_count((int64_t)malloc_usable_size(p));
    return p;
}

static void *fm_memory_calloc(void *unused, size_t count, size_t size) {
    void *p;
    size_t n;
    if (__builtin_mul_overflow(count, size, &n) || fm_memory_is_over(n)) return NULL;
    p = fm_raw.calloc(fm_raw.ctx, count, size);
    if (p != NULL) fm_memory_count((int64_t)malloc_usable_size(p));
    return p;
}

static void *fm_memory_realloc(void *unused, void *was, size_t n) {
    size_t had = was != NULL ? malloc_usable_size(was) : 0;
    void *p;
    if (n > had && fm_memory_is_over(n - had)) return NULL;
    p = fm_raw.realloc(fm_raw.ctx, was, n);
    if (p != NULL) fm_memory_count((int64_t)malloc_usable_size(p) - (int64_t)had);
    return p;
}

static void fm_memory_free(void *unused, void *p) {
    if (p != NULL) fm_memory_count(-(int64_t)malloc_usable_size(p));
    fm_raw.free(fm_raw.ctx, p);
}

static void *fm_arena_alloc(void *unused, size_t n) {
    void *p;
    /* Without an arena a small object is asked for from the raw allocator, which refuses it likewise. */
    if (fm_memory_is_over(n)) return NULL;
    p = fm_arenas.alloc(fm_arenas.ctx, n);
    if (p != NULL) fm_memory_count((int64_t)n);
    return p;
}

static void fm_arena_free(void *unused, void *p, size_t n) {
    fm_memory_count(-(int64_t)n);
    fm_arenas.free(fm_arenas.ctx, p, n);
}

/* Where objects come from the C library one by one (PYTHONMALLOC=malloc), this is asked for them. */
static void fm_memory_hook(PyMemAllocatorDomain domain, PyMemAllocatorEx *hooked) {
    PyMemAllocatorEx now;
    PyMem_GetAllocator(domain, &now);
    if (now.malloc == fm_raw.malloc) PyMem_SetAllocator(domain, hooked);
}

/* 0 when this Python's memory cannot be told: what a debug build, a build without a GIL, or somebody else's hook gives is
not the C library's. `most` 0 is no limit. Called on the data thread. */
static int fm_memory_bound(uint64_t most) {
#if defined(Py_DEBUG) || defined(Py_GIL_DISABLED)
    return 0;
#else
    PyMemAllocatorEx raw = {NULL, fm_memory_malloc, fm_memory_calloc, fm_memory_realloc, fm_memory_free};
    PyObjectArenaAllocator arenas = {NULL, fm_arena_alloc, fm_arena_free};
    if (!fm_memory_is_hooked && most != 0) {
        fm_data_thread = pthread_self();
        PyMem_GetAllocator(PYMEM_DOMAIN_RAW, &fm_raw);
        if (fm_raw.ctx != NULL) return 0;
        PyObject_GetArenaAllocator(&fm_arenas);
        fm_memory_hook(PYMEM_DOMAIN_MEM, &raw);
        fm_memory_hook(PYMEM_DOMAIN_OBJ, &raw);
        fm_memory_hook(PYMEM_DOMAIN_RAW, &raw);
        PyObject_SetArenaAllocator(&arenas);
        fm_memory_is_hooked = 1;
    }
    fm_memory_most = most;
    return 1;
#endif
}
#endif
