/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * L2TPv3 headers as a peer may send them: the first bytes say what the tunnel is like, the rest is a datagram. What is
 * taken for a frame lies in it; what we send is taken by one who is told the same.
 */
#include <stdlib.h>

#include "backend/l2tpv3_format.h"
#include "base/wirefmt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_sent(struct l2tpv3_format *f, const uint8_t *frame, size_t n)
{
	struct dgram_head h;
	uint8_t *p;
	size_t skip = 0;

	f->ip4 = false;
	f->rx_session = f->tx_session;
	f->rx_cookie = f->tx_cookie;
	l2tpv3_head(f, &h);
	p = malloc(h.len + n + 1);
	memcpy(p, h.bytes, h.len);
	memcpy(p + h.len, frame, n);
	if (l2tpv3_judge(f, p, h.len + n, &skip) || skip != h.len)
		abort();
	free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct l2tpv3_format f = { .udp = false };
	size_t skip = SIZE_MAX;
	uint8_t *p;

	if (size < 20)
		return 0;
	f.udp = data[0] & 1;
	f.ip4 = !f.udp && (data[0] & 2);
	f.sublayer = data[0] & 4;
	f.counts = data[0] & 8;
	f.cookie_len = (uint8_t)(data[0] >> 4) % 3 * 4;
	f.offset = (uint16_t)(get16(data + 2) % (L2TPV3_OFFSET_MAX + 1));
	f.tx_session = f.rx_session = get32(data + 4);
	f.rx_cookie = get32(data + 12) | (f.cookie_len == 8 ? (uint64_t)get32(data + 8) << 32 : 0);
	f.tx_cookie = f.rx_cookie;
	if (!f.cookie_len)
		f.rx_cookie = f.tx_cookie = 0;
	data += 16;
	size -= 16;
	p = malloc(size);
	memcpy(p, data, size);
	if (!l2tpv3_judge(&f, p, size, &skip) && skip > size)
		abort();
	free(p);
	check_sent(&f, data, size);
	return 0;
}
