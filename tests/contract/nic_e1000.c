/* SPDX-License-Identifier: BSD-2-Clause */
/* e1000 under the contract: see nic_guest.h. Jumbo frames, checksums by legacy descriptors. */
#include "nic_guest.h"

#include "../device/e1000_guest.h"
#include "answer.h"

/* Longer places than the driver of the device tests has for what it sends. */
#define RING	 80u
#define PLACE(i) (EG_FREE + (i)*0x3000u)

static struct eg g;

static void make(const char *options)
{
	eg_open(&g, options);
	eg_up(&g, RING, EG_RCTL | RCTL_LPE);
}

#define MAKE(name, model)                               \
	struct net_client *name##_make(struct bench *b) \
	{                                               \
		make(model ",mac=" ANSWER_MAC);         \
		b->loop = g.loop;                       \
		return g.nic;                           \
	}

MAKE(e1000, "e1000")
MAKE(e1000_82544gc, "e1000-82544gc")
MAKE(e1000_82545em, "e1000-82545em")

void e1000_unmake(struct bench *b)
{
	(void)b;
	eg_read(&g, E1000_ICR);
	eg_close(&g);
}

/* One is left between the last and the first, as every driver has it. */
static bool may_send(void)
{
	return (g.tx_next + 1) % g.n_tx != g.tx_done;
}

bool e1000_turn(struct bench *b)
{
	static uint8_t frame[16384];
	bool did = eg_tx_reap(&g) > 0, left;
	int len;

	(void)b;
	while (may_send() && (len = eg_receive(&g, frame, sizeof(frame))) >= 0) {
		uint32_t n = answer(frame, (uint32_t)len, true, &left), at = PLACE(g.tx_next);

		did = true;
		if (!n)
			continue;
		memcpy(eg_at(&g, at), frame, n);
		eg_tx_desc(&g, at, n | TXD_EOP | TXD_RS | (left ? TXD_IC | 36u << 16 | 34ull << 40 : 0));
	}
	if (did)
		eg_write(&g, E1000_TDT, g.tx_next);
	return did;
}
