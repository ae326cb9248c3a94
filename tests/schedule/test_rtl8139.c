/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rtl8139 with its loop in a thread of its own, as in a machine: vCPUs write registers, drive the rings, unmask and
 * acknowledge interrupts while the loop sends and receives, main resets the device, flaps its link and takes bus
 * mastering away. In both modes, under the thread sanitizer too. What is held: frames come and go in each phase, the
 * accounts balance, and the line agrees with status and mask when all is still.
 */
#include "../unit/unit.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include "base/iov.h"
#include "base/log.h"
#include "mem/epoch.h"
#include "../device/rtl_guest.h"

#define ROUNDS 40

static struct rtl_guest guest, *const g = &guest;
static struct net_client wire;
static struct timer source;
static _Atomic unsigned sent, given, received;
static _Atomic bool over;
static pthread_mutex_t ring = PTHREAD_MUTEX_INITIALIZER; /* the driver's own lock */

/* ---- the wire; loop ---- */

static unsigned wire_send(struct net_client *c, struct batch *b)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < b->n; i++)
		bytes += b->frame[i].len;
	net_count_rx_out(c, b->n, bytes);
	atomic_fetch_add(&sent, b->n);
	return b->n;
}

static void give(void)
{
	static const struct frame_meta plain;
	uint8_t frame[200] = { 255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1, 0x88, 0xb5 };
	struct net_window w;

	for (unsigned i = 0; i < 8; i++) {
		if (net_lend(&wire, sizeof(frame), &w))
			break;
		iov_write_at(w.iov, w.cnt, 0, frame, sizeof(frame));
		if (net_take(&wire, sizeof(frame), &plain) == NET_OK)
			atomic_fetch_add(&given, 1);
	}
	net_commit(&wire);
}

static void tick(struct timer *t)
{
	if (atomic_load(&over))
		return;
	give();
	timer_arm(t, clock_now(CLOCK_HOST_NS) + 20 * NSEC_PER_USEC);
}

static void wire_wake(struct net_client *c, unsigned what)
{
	(void)c;
	(void)what;
	give();
}

static const struct net_client_ops wire_ops = { .type = "test", .send = wire_send, .wake = wire_wake };

static void start_source(void *arg)
{
	(void)arg;
	net_drained(&wire);
	timer_init(&source, g->loop, CLOCK_HOST_NS, tick);
	tick(&source);
}

static void stop_source(void *arg)
{
	(void)arg;
	timer_cancel(&source);
}

/* ---- vCPUs ---- */

/* As a driver's interrupt handler and its transmit function. */
static void drive(void)
{
	static const uint8_t frame[100] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5 };
	uint8_t got[8192];

	pthread_mutex_lock(&ring);
	rg_write(g, R_ISR, 2, rg_read(g, R_ISR, 2));
	for (unsigned i = 0; i < 16 && rg_receive(g, got, sizeof(got)) >= 0; i++)
		atomic_fetch_add(&received, 1);
	rg_write(g, R_IMR, 2, INT_ALL);
	if (rg_send(g, frame, sizeof(frame), 0, 0) && g->cplus)
		rg_poll(g);
	pthread_mutex_unlock(&ring);
}

static void *vcpu(void *arg)
{
	struct epoch_reader reader;
	unsigned seed = (unsigned)(uintptr_t)arg;

	epoch_register(&reader);
	while (!atomic_load(&over)) {
		epoch_enter(&reader);
		if (seed & 1)
			drive();
		/* Registers that anybody may touch at any time. */
		rg_read(g, R_CR, 1);
		rg_write(g, R_IMR, 2, seed & 2 ? INT_ALL : 0);
		rg_read(g, R_TSAD, 2);
		rg_write(g, R_TCTR, 4, 0);
		rg_read(g, R_TCTR, 4);
		rg_read(g, R_MPC, 4);
		rg_write(g, R_CONFIG5, 1, seed & 0x70);
		epoch_leave(&reader);
		seed = seed * 1103515245 + 12345;
	}
	epoch_unregister(&reader);
	return NULL;
}

/* ---- main ---- */

static void up(bool cplus)
{
	pthread_mutex_lock(&ring);
	if (cplus)
		rg_up_cplus(g);
	else
		rg_up_c(g, 1, true);
	pthread_mutex_unlock(&ring);
}

/* Wait until frames have come and gone since. */
static void until_it_flows(void)
{
	unsigned s = atomic_load(&sent), r = atomic_load(&received);

	while (atomic_load(&sent) - s < 3 || atomic_load(&received) - r < 3)
		sched_yield();
}

static void disturb(unsigned i)
{
	uint16_t command = PCI_COMMAND_IO | PCI_COMMAND_MEMORY;

	switch (i % 4) {
	case 0:
		up(i & 4);
		break;
	case 1:
		net_set_link(g->nic, false);
		net_set_link(g->nic, true);
		break;
	case 2:
		pci_config_write(&g->bus, g->pci->devfn, PCI_COMMAND, 2, command);
		pci_config_write(&g->bus, g->pci->devfn, PCI_COMMAND, 2, command | PCI_COMMAND_MASTER);
		break;
	default:
		rg_write(g, R_RCR, 4, rg_read(g, R_RCR, 4) ^ 0x10);
		rg_write(g, R_TIMERINT, 4, i * 1000);
	}
}

static void all_at_once(void **state)
{
	struct error err;
	pthread_t t[2];

	(void)state;
	g->loop = loop_new("net", &err);
	assert_non_null(g->loop);
	assert_int_equal(loop_start_thread(g->loop, &err), 0);
	rg_open(g, "romfile=");
	wire = (struct net_client){ .ops = &wire_ops,
				    .kind = NET_KIND_BACKEND,
				    .name = "wire",
				    .loop = g->loop,
				    .takes = NET_OFF_ALL,
				    .max_frame = NET_FRAME_MAX };
	assert_int_equal(net_client_add(&wire, &err), 0);
	assert_int_equal(net_connect(g->nic, &wire, &err), 0);
	net_start(g->nic);
	up(true);
	loop_call(g->loop, start_source, NULL);
	for (uintptr_t i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, vcpu, (void *)(i * 7 + 1)), 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		until_it_flows();
		disturb(i);
	}
	until_it_flows();
	atomic_store(&over, true);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	loop_call(g->loop, stop_source, NULL);
	net_quiesce(g->nic);
	assert_true(net_account_balanced(&g->nic->tx) && net_account_balanced(&g->nic->rx));
	assert_true(net_account_balanced(&wire.tx) && net_account_balanced(&wire.rx));
	assert_int_equal(atomic_load(&g->level), (rg_read(g, R_ISR, 2) & rg_read(g, R_IMR, 2)) != 0);
	net_client_remove(&wire);
	rg_close(g);
}

int main(void)
{
	static const struct type *const types[] = { &type_object,	   &type_device,  &type_pci_device,
						    &type_pci_host_bridge, &type_rtl8139, NULL };
	const struct CMUnitTest tests[] = { cmocka_unit_test(all_at_once) };
	struct error err;

	log_init("test", LOG_ERR);
	if (types_init(types, &err))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
