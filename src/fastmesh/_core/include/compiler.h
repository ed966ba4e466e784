/* Words for the compiler: what is likely, what is rare, what must not be inlined. */
#ifndef FM_COMPILER_H
#define FM_COMPILER_H

#define FM_LIKELY(x) __builtin_expect(!!(x), 1)
#define FM_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define FM_PREFETCH(p) __builtin_prefetch(p)
#define FM_COLD __attribute__((cold, noinline))

#endif
