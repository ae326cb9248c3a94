/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a guest may send to user networking: the frame check judges any bytes with any vnet header. What it lets through
 * is no longer than it was, keeps the promises of user/check.h, and can be made into frames for the guest.
 *
 * Input: a byte of configuration, 10 bytes of vnet header, the frame; a further byte lengthens it with zeros.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/wirefmt.h"
#include "user/check.h"
#include "user/toguest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SIZE (256 * 1024U)

static uint8_t frame[RING_FRAME_MAX + 1];
static struct ring_ctl ctl;
static struct user_stats stats;
static struct check c;

static void must(bool ok)
{
	if (!ok)
		abort();
}

/* IPv4: plain header, exact length, no fragment, no urgent data. */
static void check_promise(uint32_t len)
{
	uint16_t type = get16(frame + 12);

	must(type == ETH_IPV4 || type == ETH_IPV6 || type == ETH_ARP);
	if (type == ETH_IPV4) {
		must(frame[14] == 0x45 && get16(frame + 16) + 14U == len && !(get16(frame + 20) & 0x3fff));
		must(frame[23] != PROTO_TCP || !(frame[47] & TCP_URG));
		must(frame[23] != PROTO_TCP || (frame[46] >> 4) * 4U + 34 <= len);
	} else if (type == ETH_IPV6) {
		must(get16(frame + 18) + 54U == len);
	}
}

static void send_back(uint32_t len)
{
	static uint8_t *ring_data;
	struct ring in, out;
	struct toguest t = { .ring = &out, .mss = &c.mss, .stats = &stats };
	struct ring_frame f;

	if (!ring_data) {
		int fd = memfd_create("ring", 0);

		must(!ftruncate(fd, SIZE));
		ring_data = ring_map(fd, 0, SIZE);
		must(ring_data);
	}
	memset(&ctl, 0, sizeof(ctl));
	ring_init(&in, &ctl, ring_data, SIZE);
	ring_init(&out, &ctl, ring_data, SIZE);
	toguest_send(&t, frame, len);
	must(!ring_publish(&out));
	for (;;) {
		enum ring_result r = ring_peek(&in, &f);

		must(r != RING_BROKEN);
		if (r == RING_EMPTY)
			return;
		must(f.hdr.gso_type ? f.hdr.gso_size >= MSS_MIN && f.len > f.hdr.gso_size : f.len <= len);
		ring_pop(&in, &f);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct virtio_net_hdr h;
	uint32_t len, before;
	uint8_t flags;

	if (size < 2 + sizeof(h) || size - 2 - sizeof(h) > 4096)
		return 0;
	flags = data[0];
	memcpy(&h, data + 2, sizeof(h));
	size -= 2 + sizeof(h);
	memset(frame, 0, sizeof(frame));
	memcpy(frame, data + 2 + sizeof(h), size);
	len = before = (uint32_t)MAX(MIN(size + data[1] * 257UL, (size_t)RING_FRAME_MAX), (size_t)14);
	c = (struct check){
		.ipv4 = flags & 1, .ipv6 = flags & 2, .tftp = flags & 4, .all = flags & 8, .big_mss = 65481
	};
	if (check_frame(&c, frame, &len, &h) == USER_PASS) {
		must(len <= before && len >= 14);
		if (!c.all)
			check_promise(len);
	}
	send_back(len);
	return 0;
}
