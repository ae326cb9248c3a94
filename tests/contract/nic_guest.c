/* SPDX-License-Identifier: BSD-2-Clause */
/* See the header. The driver is that of the device tests, whose bench has names of its own here. */
#include <stdio.h>
#include <stdlib.h>

#include "base/csum.h"
#include "nic_guest.h"

#define bench	    guest_bench
#define bench_open  guest_bench_open
#define bench_close guest_bench_close
#define settle	    guest_settle
#include "../device/guest.c"
#undef bench
#undef bench_open
#undef bench_close
#undef settle

#define RX_BUFFER 2048

static struct guest_bench g;
static const uint8_t mac[6] = { 0x52, 0x54, 0, 0xaa, 0xbb, 0xcc };
static const uint8_t ip[4] = { 10, 0, 2, 2 };

static void fill_rx(void)
{
	while (g.q[RXQ].n_free)
		post_rx(&g, RX_BUFFER);
	kick_if_due(&g.q[RXQ]);
}

struct net_client *virtio_net_make(struct bench *b)
{
	static const char *const props[] = { "mac=52:54:00:aa:bb:cc", NULL };

	guest_bench_open(&g, props);
	net_disconnect(&g.wire); /* the suite's end comes in its place */
	driver_up(&g, ALL_FEATURES);
	fill_rx();
	b->loop = g.loop;
	return g.nic;
}

/* RAM that nobody gave away is as it was, nothing is held behind a reset: asserted. */
void virtio_net_unmake(struct bench *b)
{
	(void)b;
	guest_bench_close(&g);
}

static void transmit(uint8_t *p, uint32_t len, const struct virtio_net_hdr_mrg_rxbuf *h)
{
	assert_true(g.q[TXQ].n_free > 0);
	post_tx(&g, h, p, len, NULL);
}

static void answer_arp(uint8_t *p)
{
	memcpy(p, p + 6, 6);
	memcpy(p + 6, mac, 6);
	p[21] = 2;
	memcpy(p + 32, p + 22, 10);
	memcpy(p + 22, mac, 6);
	memcpy(p + 28, ip, 4);
	transmit(p, 60, NULL);
}

/* Every other one leaves its checksum to the device. */
static void answer_ping(uint8_t *p, uint32_t len)
{
	struct virtio_net_hdr_mrg_rxbuf h = { 0 };

	memcpy(p, p + 6, 6);
	memcpy(p + 6, mac, 6);
	memcpy(p + 30, p + 26, 4);
	memcpy(p + 26, ip, 4);
	p[34] = 0;
	memset(p + 36, 0, 2);
	if (p[41] & 1) {
		h.hdr = (struct virtio_net_hdr){ VIRTIO_NET_HDR_F_NEEDS_CSUM, 0, 0, 0, 34, 2 };
	} else {
		uint16_t c = (uint16_t)~csum_fold(csum_add(0, p + 34, len - 34));

		memcpy(p + 36, &c, 2);
	}
	transmit(p, len, &h);
}

static void answer(uint8_t *p, uint32_t len)
{
	if (len >= 60 && !memcmp(p + 12, "\x08\x06", 2) && p[21] == 1 && !memcmp(p + 38, ip, 4))
		answer_arp(p);
	else if (len >= 42 && !memcmp(p + 12, "\x08\x00", 2) && p[23] == 1 && p[34] == 8)
		answer_ping(p, len);
}

bool virtio_net_turn(struct bench *b)
{
	static uint8_t frame[NET_FRAME_MAX];
	bool did = false;
	int len;

	(void)b;
	while (reap(&g.q[TXQ], NULL, NULL))
		did = true;
	while (g.q[TXQ].n_free > 1 && (len = receive(&g, frame, sizeof(frame), NULL)) >= 0) {
		answer(frame, (uint32_t)len);
		did = true;
	}
	if (did) {
		kick_if_due(&g.q[TXQ]);
		fill_rx();
	}
	return did;
}
