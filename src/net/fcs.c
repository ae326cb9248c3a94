/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CRC-32, eight bytes a step by eight tables: table[k][b] is what byte b contributes k bytes later. The tables are made
 * once, before there is a frame.
 *
 * Where the processor multiplies without carries, long runs are folded first: 128 bits of message are worth, 128 bits
 * later, what their two halves give when multiplied by the remainders of x^160 and x^96 (bit-reversed). What is left at
 * the end is 16 bytes with the same remainder as all of the message, and goes through the tables.
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
	folds = __builtin_cpu_supports("pclmul");
}

/* n: a multiple of 16, 32 at least. */
static __attribute__((target("pclmul,sse2"))) uint32_t add_by_folding(uint32_t fcs, const uint8_t *p, size_t n)
{
	const __m128i ahead = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0);
	__m128i x = _mm_xor_si128(_mm_loadu_si128((const __m128i *)(const void *)p), _mm_cvtsi32_si128((int)fcs));
	uint8_t rest[16];

	for (p += 16, n -= 16; n; p += 16, n -= 16) {
		__m128i low = _mm_clmulepi64_si128(x, ahead, 0x00), high = _mm_clmulepi64_si128(x, ahead, 0x11);

		x = _mm_xor_si128(_mm_xor_si128(low, high), _mm_loadu_si128((const __m128i *)(const void *)p));
	}
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
