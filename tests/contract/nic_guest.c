/* SPDX-License-Identifier: BSD-2-Clause */
/* See the header. The driver is that of the device tests, whose bench has names of its own here. */
#include <stdio.h>
#include <stdlib.h>

#include "answer.h"
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

static void fill_rx(void)
{
	while (g.q[RXQ].n_free)
		post_rx(&g, RX_BUFFER);
	kick_if_due(&g.q[RXQ]);
}

struct net_client *virtio_net_make(struct bench *b)
{
	static const char *const props[] = { "mac=" ANSWER_MAC, NULL };

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

/* Every other one leaves its checksum to the device. */
static void respond(uint8_t *p, uint32_t len)
{
	struct virtio_net_hdr_mrg_rxbuf h = { 0 };
	bool left;

	len = answer(p, len, true, &left);
	if (left)
		h.hdr = (struct virtio_net_hdr){ VIRTIO_NET_HDR_F_NEEDS_CSUM, 0, 0, 0, 34, 2 };
	if (!len)
		return;
	assert_true(g.q[TXQ].n_free > 0);
	post_tx(&g, left ? &h : NULL, p, len, NULL);
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
		respond(frame, (uint32_t)len);
		did = true;
	}
	if (did) {
		kick_if_due(&g.q[TXQ]);
		fill_rx();
	}
	return did;
}
