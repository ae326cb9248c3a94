/* SPDX-License-Identifier: BSD-2-Clause */
/* See the header. */
#include "answer.h"

#include <string.h>

#include "base/csum.h"

static const uint8_t mac[6] = { 0x52, 0x54, 0, 0xaa, 0xbb, 0xcc };
static const uint8_t ip[4] = { 10, 0, 2, 2 };

static uint32_t answer_arp(uint8_t *p)
{
	memcpy(p, p + 6, 6);
	memcpy(p + 6, mac, 6);
	p[21] = 2;
	memcpy(p + 32, p + 22, 10);
	memcpy(p + 22, mac, 6);
	memcpy(p + 28, ip, 4);
	return 60;
}

static uint32_t answer_ping(uint8_t *p, uint32_t len, bool leave)
{
	memcpy(p, p + 6, 6);
	memcpy(p + 6, mac, 6);
	memcpy(p + 30, p + 26, 4);
	memcpy(p + 26, ip, 4);
	p[34] = 0;
	memset(p + 36, 0, 2);
	if (!leave) {
		uint32_t n = (uint32_t)(p[16] << 8 | p[17]) + 14 - 34;
		uint16_t c = (uint16_t)~csum_fold(csum_add(0, p + 34, n < len - 34 ? n : len - 34));

		memcpy(p + 36, &c, 2);
	}
	return len;
}

uint32_t answer(uint8_t *p, uint32_t len, bool may_leave, bool *sum_left)
{
	*sum_left = false;
	if (len >= 60 && !memcmp(p + 12, "\x08\x06", 2) && p[21] == 1 && !memcmp(p + 38, ip, 4))
		return answer_arp(p);
	if (len < 42 || memcmp(p + 12, "\x08\x00", 2) != 0 || p[23] != 1 || p[34] != 8)
		return 0;
	*sum_left = may_leave && p[41] & 1;
	return answer_ping(p, len, *sum_left);
}
