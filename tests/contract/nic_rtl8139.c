/* SPDX-License-Identifier: BSD-2-Clause */
/* rtl8139 under the contract: see nic_guest.h. */
#include "nic_guest.h"

#include "../device/rtl_guest.h"
#include "answer.h"

static struct rtl_guest g;

struct net_client *rtl8139_cplus_make(struct bench *b)
{
	rg_open(&g, "mac=" ANSWER_MAC);
	rg_up_cplus(&g);
	b->loop = g.loop;
	return g.nic;
}

struct net_client *rtl8139_c_make(struct bench *b)
{
	rg_open(&g, "cplus=off,mac=" ANSWER_MAC);
	rg_up_c(&g, 2, true);
	b->loop = g.loop;
	return g.nic;
}

void rtl8139_unmake(struct bench *b)
{
	(void)b;
	rg_close(&g);
}

static bool may_send(void)
{
	if (g.cplus)
		return !(rg_get32(&g, RG_TX_RING + g.cur_tx * RTL_DESC_LEN) & DESC_OWN);
	return rg_read(&g, R_TSD0 + 4 * g.cur_tx, 4) & TSD_OWN;
}

bool rtl8139_turn(struct bench *b)
{
	static uint8_t frame[8192];
	bool did = false, left;
	int len;

	(void)b;
	rg_write(&g, R_ISR, 2, 0xffff);
	while (may_send() && (len = rg_receive(&g, frame, sizeof(frame))) >= 0) {
		uint32_t n = answer(frame, (uint32_t)len, false, &left);

		if (n)
			rg_send(&g, frame, n, 0, 0);
		if (n && g.cplus)
			rg_poll(&g);
		did = true;
	}
	if (did)
		rg_write(&g, R_IMR, 2, INT_ALL); /* as a driver that has polled */
	return did;
}
