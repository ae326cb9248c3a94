/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * e1000 with real threads: vCPUs that write and read registers of all kinds, resets among them, while the loop sends,
 * receives and lets time pass. What it finds is found by the thread sanitizer, by a hang, or by the accounts at the
 * end. Guest memory is as it was made before: what a driver and a device do to one another there is no race of ours.
 */
#include "../unit/unit.h"

#include <pthread.h>

#include "../device/e1000_guest.h"
#include "base/iov.h"
#include "mem/epoch.h"

#define VCPUS  3
#define ROUNDS 3000

static struct eg guest, *const g = &guest;
static struct net_client wire;
static struct post frames;
static uint8_t frame[1514];

static unsigned wire_send(struct net_client *c, struct batch *b)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < b->n; i++)
		bytes += b->frame[i].len;
	net_count_rx_out(c, b->n, bytes);
	return b->n;
}

static const struct net_client_ops wire_ops = { .type = "test", .send = wire_send };

/* On the loop. */
static void give_frames(struct post *p)
{
	struct frame_meta m = { 0 };
	struct net_window w;

	(void)p;
	for (unsigned i = 0; i < 8 && net_lend(&wire, sizeof(frame), &w) == 0; i++) {
		struct iov_cur cur = iov_cur(w.iov, w.cnt);

		iov_put(&cur, frame, sizeof(frame));
		net_take(&wire, sizeof(frame), &m);
	}
	net_commit(&wire);
	vm_clock_step(clock_now(CLOCK_VM_NS) + 10000);
}

static void bring_up(void)
{
	eg_write(g, E1000_CTRL, CTRL_SLU);
	eg_write(g, E1000_RDBAL, EG_RX_RING);
	eg_write(g, E1000_RDLEN, 64 * 16);
	eg_write(g, E1000_TDBAL, EG_TX_RING);
	eg_write(g, E1000_TDLEN, 64 * 16);
	eg_write(g, E1000_IMS, ICR_ALL);
	eg_write(g, E1000_RCTL, EG_RCTL | RCTL_EN);
	eg_write(g, E1000_TCTL, TCTL_EN | TCTL_PSP);
}

static void act(uint32_t r)
{
	static const uint16_t delays[] = { E1000_ITR, E1000_RDTR, E1000_RADV, E1000_TIDV, E1000_TADV };
	uint32_t v = r >> 16;

	switch (r % 16) {
	case 0:
		if (v % 16 == 0)
			eg_write(g, E1000_CTRL, CTRL_RST);
		bring_up();
		break;
	case 1:
		eg_write(g, delays[v % 5], v % 64);
		break;
	case 2:
		eg_write(g, v & 1 ? E1000_IMS : E1000_IMC, v);
		break;
	case 3:
		eg_write(g, E1000_ICS, v);
		break;
	case 4:
		eg_read(g, E1000_STATUS);
		eg_read(g, E1000_GPRC + 4 * (v % 30));
		break;
	case 5:
		eg_write(g, v & 1 ? E1000_MTA : E1000_RA + 8, v);
		eg_write(g, E1000_VFTA, v);
		break;
	case 6:
		eg_write(g, E1000_MDIC, (v & 1 ? (uint32_t)MDIC_OP_READ : MDIC_OP_WRITE) << 26 | 1u << 21 | 0x1340);
		break;
	case 7:
		eg_write(g, E1000_RCTL, EG_RCTL | (v & 1 ? RCTL_EN : 0) | (v & 6) << 5);
		break;
	case 8:
		eg_master(g, v % 4);
		break;
	case 9:
	case 10:
	case 11:
		eg_write(g, E1000_RDT, v % 64);
		loop_post(g->loop, &frames);
		break;
	default:
		eg_write(g, E1000_TDT, v % 64);
		eg_read(g, E1000_ICR);
		break;
	}
}

static void *vcpu(void *arg)
{
	struct epoch_reader reader = { 0 };
	uint32_t r = (uint32_t)(uintptr_t)arg * 2654435761u + 1;

	epoch_register(&reader);
	for (unsigned i = 0; i < ROUNDS; i++) {
		r ^= r << 13;
		r ^= r >> 17;
		r ^= r << 5;
		epoch_enter(&reader);
		act(r);
		epoch_leave(&reader);
	}
	epoch_unregister(&reader);
	return NULL;
}

static void hammered(void **state)
{
	pthread_t thread[VCPUS];
	struct error err;

	(void)state;
	eg_open(g, "e1000,romfile=,mac=52:54:00:12:34:56");
	wire = (struct net_client){ .ops = &wire_ops,
				    .kind = NET_KIND_BACKEND,
				    .name = "wire",
				    .loop = g->loop,
				    .takes = NET_OFF_ALL,
				    .max_frame = NET_FRAME_MAX };
	assert_int_equal(net_client_add(&wire, &err), 0);
	assert_int_equal(net_connect(g->nic, &wire, &err), 0);
	net_start(&wire);
	memset(frame, 0xff, sizeof(frame));
	eg_up(g, 64, EG_RCTL);
	for (unsigned i = 0; i < 64; i++)
		eg_send(g, frame, 60 + i * 20, TXD_RS | (i & 1 ? TXD_IDE : 0));
	post_init(&frames, give_frames);
	assert_int_equal(loop_start_thread(g->loop, &err), 0);
	for (uintptr_t i = 0; i < VCPUS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, vcpu, (void *)(i + 1)), 0);
	for (unsigned i = 0; i < VCPUS; i++)
		pthread_join(thread[i], NULL);
	net_quiesce(&wire);
	eg_master(g, true);
	eg_write(g, E1000_CTRL, CTRL_RST);
	assert_true(net_account_balanced(&g->nic->tx));
	assert_true(net_account_balanced(&g->nic->rx));
	assert_int_equal(counter_get(&g->nic->tx.held), 0);
	assert_int_equal(counter_get(&g->nic->rx.held), 0);
	assert_false(g->level);
	assert_true(counter_get(&wire.rx.out) > 100);
	assert_true(counter_get(&g->nic->rx.out) > 100);
	net_client_remove(&wire);
	eg_close(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(hammered) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
