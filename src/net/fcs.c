/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CRC-32, eight bytes a step by eight tables: table[k][b] is what byte b contributes k bytes later. The tables are made
 * once, before there is a frame.
 *
 * Where the processor multiplies without carries, long runs are folded first: 128 bits of message are worth, 128 bits
 * later, what their two halves give when multiplied by the remainders of x^160 and x^96 (bit-reversed). What is left at
 * the end is 16 bytes with the same remainder as all of the message, and goes through the tables. A multiplication takes
 * long until its result is there, so of long runs four parts are folded side by side, each by 512 bits a step (x^544 and
 * x^480), and then into one another.
 */
#include "net/fcs.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define POLYNOMIAL 0xedb88320 /* bit-reversed: the wire sends the lowest bit first */

static uint32_t table[8][256];

static __attribute__((constructor)) void fill_tables(void)
{
	for (uint32_t b = 0; b < 256; b++) {
		uint32_t v = b;

		for (int i = 0; i < 8; i++)
			v = v >> 1 ^ (v & 1 ? POLYNOMIAL : 0);
		table[0][b] = v;
	}
	for (uint32_t b = 0; b < 256; b++) {
		for (int k = 1; k < 8; k++)
			table[k][b] = table[k - 1][b] >> 8 ^ table[0][table[k - 1][b] & 0xff];
	}
}

static uint32_t add_by_tables(uint32_t fcs, const void *p, size_t n)
{
	const uint8_t *b = p;

	for (; n >= 8; n -= 8, b += 8) {
		uint64_t v;

		memcpy(&v, b, sizeof(v));
		v = le64toh(v) ^ fcs;
		fcs = 0;
		for (int k = 0; k < 8; k++)
			fcs ^= table[7 - k][v >> 8 * k & 0xff];
	}
	while (n--)
		fcs = fcs >> 8 ^ table[0][(fcs ^ *b++) & 0xff];
	return fcs;
}

#if defined(__x86_64__)

#define FOLD_MIN 32 /* below that the tables are quicker */

static bool folds;

static __attribute__((constructor)) void look_for_clmul(void)
{
	folds = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("avx");
}

/* AVX for its three operands. */
#define FOLDING __attribute__((target("pclmul,avx")))

FOLDING static inline __m128i load(const uint8_t *p)
{
	return _mm_loadu_si128((const __m128i *)(const void *)p);
}

/* x moved on over what `by` is for, and added to `next`. */
FOLDING static inline __m128i fold(__m128i x, __m128i by, __m128i next)
{
	__m128i low = _mm_clmulepi64_si128(x, by, 0x00), high = _mm_clmulepi64_si128(x, by, 0x11);

	return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

/* n: a multiple of 16, 32 at least. */
FOLDING static uint32_t add_by_folding(uint32_t fcs, const uint8_t *p, size_t n)
{
	const __m128i by128 = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0),
		      by512 = _mm_set_epi64x(0x1c6e41596, 0x154442bd4);
	__m128i x = _mm_xor_si128(load(p), _mm_cvtsi32_si128((int)fcs));
	const uint8_t *end = p + n;
	uint8_t rest[16];

	p += 16;
	if (n >= 128) {
		__m128i a = load(p), b = load(p + 16), c = load(p + 32);

		for (p += 48; end - p >= 64; p += 64) {
			x = fold(x, by512, load(p));
			a = fold(a, by512, load(p + 16));
			b = fold(b, by512, load(p + 32));
			c = fold(c, by512, load(p + 48));
		}
		x = fold(fold(fold(x, by128, a), by128, b), by128, c);
	}
	for (; p < end; p += 16)
		x = fold(x, by128, load(p));
	_mm_storeu_si128((__m128i *)(void *)rest, x);
	return add_by_tables(0, rest, sizeof(rest));
}

uint32_t fcs_add(uint32_t fcs, const void *p, size_t n)
{
	size_t whole = n & ~(size_t)15;

	if (!folds || n < FOLD_MIN)
		return add_by_tables(fcs, p, n);
	fcs = add_by_folding(fcs, p, whole);
	return add_by_tables(fcs, (const uint8_t *)p + whole, n - whole);
}

#else

uint32_t fcs_add(uint32_t fcs, const void *p, size_t n)
{
	return add_by_tables(fcs, p, n);
}

#endif
