/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What stands in front of a frame in an L2TPv3 tunnel (RFC 3931, 4.1.1 and 4.1.2), over UDP or straight over IP:
 *
 *	UDP only	flags and version	32 bits: T = 0 (data), Ver = 3
 *			session			32 bits, not 0
 *			cookie			none, 32 or 64 bits
 *			sublayer		none or 32 bits: a number that counts, or always 0 (the kernel's l2spec_type)
 *			offset			0 to 256 bytes without meaning
 */
#ifndef BACKEND_L2TPV3_FORMAT_H
#define BACKEND_L2TPV3_FORMAT_H

#include "backend/dgram_tx.h"

#define L2TPV3_OFFSET_MAX 256

struct l2tpv3_format {
	bool udp;
	bool ip4; /* what is received begins with its IPv4 header (raw(7)) */
	uint32_t tx_session, rx_session;
	uint8_t cookie_len; /* 0, 4 or 8 */
	uint64_t tx_cookie, rx_cookie;
	bool sublayer, counts;
	uint16_t offset;
};

/* What is sent in front of each frame. */
void l2tpv3_head(const struct l2tpv3_format *f, struct dgram_head *h);

/*
 * Does a frame of our session stand in these len bytes? NET_OK, and where: at *skip <= len. The number of a sublayer is
 * not looked at: the peer may count or not, and a tunnel may change the order of frames as any network may.
 */
enum net_drop l2tpv3_judge(const struct l2tpv3_format *f, const uint8_t *p, size_t len, size_t *skip);

#endif
