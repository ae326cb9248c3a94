/* SPDX-License-Identifier: BSD-2-Clause */
/* Small helpers that every file may use: sizes, alignment, checked sums, single accesses to shared words. */
#ifndef BASE_UTIL_H
#define BASE_UTIL_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ARRAY_SIZE(a)			(sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define MIN(a, b)                                  \
	({                                         \
		__typeof__(a) _min_a = (a);        \
		__typeof__(b) _min_b = (b);        \
		_min_a < _min_b ? _min_a : _min_b; \
	})
#define MAX(a, b)                                  \
	({                                         \
		__typeof__(a) _max_a = (a);        \
		__typeof__(b) _max_b = (b);        \
		_max_a > _max_b ? _max_a : _max_b; \
	})

#define ALIGN_DOWN(x, a) ((x) & ~((__typeof__(x))(a)-1))
#define ALIGN_UP(x, a)	 ALIGN_DOWN((x) + (a)-1, a)

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define BIT(n) (1ULL << (n))
#define KIB    (1024ULL)
#define MIB    (1024ULL * KIB)
#define GIB    (1024ULL * MIB)

#define NSEC_PER_SEC  1000000000LL
#define NSEC_PER_MSEC 1000000LL
#define NSEC_PER_USEC 1000LL

#define __must_check   __attribute__((warn_unused_result))
#define __printf(f, a) __attribute__((format(printf, f, a)))

/* 1 if this is built with a sanitizer whose run time needs more of the system than we do, else 0. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/*
 * One access, exactly one, to a word that somebody else (a guest, another thread) may change meanwhile. The value
 * read is the only one to be used: never read a guest's word twice.
 */
#define READ_ONCE(x)	 (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))

/* True if [start, start + len) lies within [0, size), without overflow. */
static inline bool range_within(uint64_t start, uint64_t len, uint64_t size)
{
	return start <= size && len <= size - start;
}

static inline bool is_power_of_2(uint64_t n)
{
	return n && !(n & (n - 1));
}

/* The largest power of two that is not above n; 0 for 0. */
static inline unsigned power_of_2_within(unsigned n)
{
	return n ? 1u << (31 - __builtin_clz(n)) : 0;
}

#endif
