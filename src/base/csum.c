/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The Internet checksum. One's complement addition does not care about the width in which it is done (RFC 1071, 2):
 * words of 64 bits are added, their carries collected aside, and folded at the end. Four independent sums keep the
 * adder busy; loads by memcpy are plain unaligned loads.
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

uint64_t csum_add(uint64_t sum, const void *data, size_t n)
{
	const uint8_t *p = data;
	uint64_t s[4] = { sum, 0, 0, 0 }, carry[4] = { 0, 0, 0, 0 }, tail = 0;

	for (; n >= 64; p += 64, n -= 64) {
		for (unsigned i = 0; i < 8; i++) {
			uint64_t w = load64(p + 8 * i);

			carry[i % 4] += __builtin_add_overflow(s[i % 4], w, &s[i % 4]);
		}
	}
	sum = add1(add1(s[0], s[1]), add1(s[2], s[3]));
	sum = add1(sum, carry[0] + carry[1] + carry[2] + carry[3]);
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
