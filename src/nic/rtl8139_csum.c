/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a receive descriptor of C+ mode says of a frame's checksums (data sheet, 9.2): which protocol it is, and which
 * of them failed. Headers are judged by a copy.
 */
#include "base/csum.h"
#include "base/iov.h"
#include "base/wirefmt.h"
#include "nic/rtl8139.h"

/* Is the sum over n bytes at `off`, begun with `sum`, right? */
static bool sum_ok(const struct iovec *iov, unsigned cnt, size_t off, size_t n, uint64_t sum)
{
	struct iov_cur cur = iov_cur(iov, cnt);

	iov_skip(&cur, off);
	return csum_fold(csum_add_iov(sum, &cur, n)) == 0xffff;
}

uint32_t rtl_csum_status(const struct iovec *iov, unsigned cnt, size_t len, bool valid)
{
	uint8_t h[ETH_LEN + 4 + 60 + UDP_LEN], *ip, rest[4] = { 0 };
	size_t have = iov_read_at(iov, cnt, 0, h, MIN(len, sizeof(h)));
	unsigned l3 = ETH_LEN, ihl, total, l4, l4_len;
	uint64_t pseudo;
	uint32_t pid;

	if (have >= l3 + 4 && get16(h + 12) == ETH_VLAN)
		l3 += 4;
	ip = h + l3;
	if (!range_within(l3, IP4_LEN, have) || get16(ip - 2) != ETH_IPV4 || ip[0] >> 4 != 4)
		return 0;
	ihl = (ip[0] & 15) * 4;
	total = get16(ip + 2);
	if (ihl < IP4_LEN || total < ihl || !range_within(l3, total, len) || !range_within(l3, ihl, have) ||
	    csum_fold(csum_add(0, ip, ihl)) != 0xffff)
		return RXD_PID_IP | RXD_IPF;
	l4 = l3 + ihl;
	l4_len = total - ihl;
	if (get16(ip + 6) & (IP4_MF | IP4_OFFSET) || (ip[9] != PROTO_TCP && ip[9] != PROTO_UDP))
		return RXD_PID_IP;
	pid = ip[9] == PROTO_TCP ? RXD_PID_TCP : RXD_PID_UDP;
	if (valid)
		return pid;
	if (l4_len < (ip[9] == PROTO_TCP ? TCP_LEN : UDP_LEN))
		return pid | (ip[9] == PROTO_TCP ? RXD_TCPF : RXD_UDPF);
	/* UDP may go without one. */
	if (ip[9] == PROTO_UDP && range_within(l4, UDP_LEN, have) && !get16(h + l4 + UDP_CSUM))
		return pid;
	rest[1] = ip[9];
	put16(rest + 2, l4_len);
	pseudo = csum_add(csum_add(0, ip + 12, 8), rest, sizeof(rest));
	if (sum_ok(iov, cnt, l4, l4_len, pseudo))
		return pid;
	return pid | (ip[9] == PROTO_TCP ? RXD_TCPF : RXD_UDPF);
}
