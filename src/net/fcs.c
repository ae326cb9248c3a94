/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CRC-32, eight bytes a step by eight tables: table[k][b] is what byte b contributes k bytes later. The tables are made
 * once, before there is a frame.
 */
#include "net/fcs.h"

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

uint32_t fcs_add(uint32_t fcs, const void *p, size_t n)
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
