/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The Internet checksum. One's complement addition does not care about the width in which it is done (RFC 1071, 2):
 * words of 64 bits are added, and each carry goes into the next addition, which is what a processor's add with carry is
 * for; a compiler does not make a chain of those out of C. Elsewhere four independent sums keep the adder busy, their
 * carries collected aside. Loads by memcpy are plain unaligned loads.
 */
#include "base/csum.h"

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t w;

	memcpy(&w, p, sizeof(w));
	return w;
}

/* One's complement a + b: the carry comes back in. */
static inline uint64_t add1(uint64_t a, uint64_t b)
{
	return __builtin_add_overflow(a, b, &a) ? a + 1 : a;
}

#if defined(__x86_64__)

/* Blocks of 64 bytes, as many as there are in n; returns the sum, and moves on. */
static uint64_t add_blocks(uint64_t sum, const uint8_t **data, size_t *n)
{
	const uint8_t *p = *data;

	for (size_t left = *n / 64; left; left--, p += 64)
		__asm__("addq 0(%1), %0\n\t"
			"adcq 8(%1), %0\n\t"
			"adcq 16(%1), %0\n\t"
			"adcq 24(%1), %0\n\t"
			"adcq 32(%1), %0\n\t"
			"adcq 40(%1), %0\n\t"
			"adcq 48(%1), %0\n\t"
			"adcq 56(%1), %0\n\t"
			"adcq $0, %0"
			: "+r"(sum)
			: "r"(p), "m"(*(const uint8_t(*)[64])p)
			: "cc");
	*data = p;
	*n %= 64;
	return sum;
}

#else

/* Add the word at `p` to a sum, its carry to another: two instructions, without a branch. */
static inline void add64(uint64_t *sum, uint64_t *carry, const uint8_t *p)
{
	*carry += __builtin_add_overflow(*sum, load64(p), sum);
}

static uint64_t add_blocks(uint64_t sum, const uint8_t **data, size_t *n)
{
	const uint8_t *p = *data;
	uint64_t a = sum, b = 0, c = 0, d = 0, ca = 0, cb = 0, cc = 0, cd = 0;

	for (; *n >= 64; p += 64, *n -= 64) {
		add64(&a, &ca, p);
		add64(&b, &cb, p + 8);
		add64(&c, &cc, p + 16);
		add64(&d, &cd, p + 24);
		add64(&a, &ca, p + 32);
		add64(&b, &cb, p + 40);
		add64(&c, &cc, p + 48);
		add64(&d, &cd, p + 56);
	}
	*data = p;
	return add1(add1(add1(a, b), add1(c, d)), ca + cb + cc + cd);
}

#endif

uint64_t csum_add(uint64_t sum, const void *data, size_t n)
{
	const uint8_t *p = data;
	uint64_t tail = 0;

	if (n >= 64)
		sum = add_blocks(sum, &p, &n);
	for (; n >= 8; p += 8, n -= 8)
		sum = add1(sum, load64(p));
	if (n)
		memcpy(&tail, p, n);
	return add1(sum, tail);
}

uint16_t csum_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

uint64_t csum_add_iov(uint64_t sum, struct iov_cur *cur, size_t n)
{
	bool odd = false;

	while (n && cur->cnt) {
		size_t len = MIN(cur->iov->iov_len - cur->off, n);
		const uint8_t *p = (const uint8_t *)cur->iov->iov_base + cur->off;

		/* Bytes at an odd offset stand in the other half of their words. */
		if (!odd && len)
			sum = csum_add(sum, p, len);
		else if (len)
			sum = add1(sum, __builtin_bswap16(csum_fold(csum_add(0, p, len))));
		odd ^= len & 1;
		n -= len;
		cur->off += len;
		if (cur->off == cur->iov->iov_len) {
			cur->iov++;
			cur->cnt--;
			cur->off = 0;
		}
	}
	return sum;
}
