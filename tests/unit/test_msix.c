/* SPDX-License-Identifier: BSD-2-Clause */
/* MSI-X: masks, pending bits, lazy routes, messages that are no good; no signal lost, doubled, or sent while masked. */
#include <poll.h>
#include <unistd.h>

#include "pcibench.h"

static struct bench bench;
static struct bench *const b = &bench;
static struct pci_device *dev;
static uint64_t table, pba;
static unsigned cap;

static void start(const char *text)
{
	uint32_t at;

	bench_init(b, NULL, false);
	dev = bench_add(text);
	bench_assign(b);
	cap = bench_cap(b, dev, PCI_CAP_ID_MSIX);
	assert_true(cap);
	at = cfg_read(b, dev, cap + PCI_MSIX_TABLE, 4);
	table = bench_bar(b, dev, at & 7) + (at & ~7u);
	at = cfg_read(b, dev, cap + PCI_MSIX_PBA, 4);
	pba = bench_bar(b, dev, at & 7) + (at & ~7u);
}

static int setup(void **state)
{
	(void)state;
	start("test-pci,vectors=4");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	bench_destroy(b);
	return 0;
}

static void control(uint16_t flags)
{
	cfg_write(b, dev, cap + PCI_MSIX_FLAGS, flags, 2);
}

static void entry(unsigned v, unsigned word, uint32_t value)
{
	bench_write(b, table + v * 16 + word * 4, value, 4);
}

static void message(unsigned v, uint64_t address, uint32_t data)
{
	entry(v, 0, (uint32_t)address);
	entry(v, 1, (uint32_t)(address >> 32));
	entry(v, 2, data);
}

static void mask(unsigned v, bool on)
{
	entry(v, 3, on);
}

static uint64_t pending(void)
{
	return bench_read(b, pba, 8);
}

/* The whole way of a driver. */
static void enable(void)
{
	cfg_write(b, dev, PCI_COMMAND, cfg_read(b, dev, PCI_COMMAND, 2) | PCI_COMMAND_MASTER, 2);
	control(PCI_MSIX_FLAGS_ENABLE);
}

static void fresh(void **state)
{
	(void)state;
	assert_int_equal(cfg_read(b, dev, cap + PCI_MSIX_FLAGS, 2), 3);
	assert_int_equal(msix_vectors(dev), 4);
	assert_false(msix_enabled(dev));
	for (unsigned v = 0; v < 4; v++) {
		assert_int_equal(bench_read(b, table + 16 * v, 8), 0);
		assert_int_equal(bench_read(b, table + 16 * v + 8, 4), 0);
		assert_int_equal(bench_read(b, table + 16 * v + 12, 4), 1);
	}
	assert_int_equal(pending(), 0);
	control(0xffff);
	assert_int_equal(cfg_read(b, dev, cap + PCI_MSIX_FLAGS, 2), 3 | PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	assert_int_equal(atomic_load(&b->routes), 0);
}

static void one_vector(void **state)
{
	(void)state;
	enable();
	message(1, 0xfee01000, 0x41);
	assert_int_equal(atomic_load(&b->routes), 0); /* masked: no route yet */
	msix_notify(dev, 1);
	assert_int_equal(pending(), 2);
	msix_notify(dev, 1);
	mask(1, false);
	assert_int_equal(atomic_load(&b->routes), 1);
	assert_int_equal(bench_signals(b, 0), 1); /* the pending ones are one */
	assert_int_equal(pending(), 0);
	assert_true(b->route_msg[0].address == 0xfee01000 && b->route_msg[0].data == 0x41);
	msix_notify(dev, 1);
	msix_notify(dev, 1);
	assert_int_equal(bench_signals(b, 0), 2);
	mask(1, true);
	mask(1, false);
	assert_int_equal(bench_signals(b, 0), 0);
}

static void lazy_routes(void **state)
{
	(void)state;
	enable();
	message(0, 0xfee00000, 0x21);
	mask(0, false);
	assert_int_equal(atomic_load(&b->route_sets), 1);
	for (unsigned i = 0; i < 10; i++) {
		mask(0, true);
		mask(0, false);
	}
	assert_int_equal(atomic_load(&b->route_sets), 1);
	/* an affinity change: one route change, at the unmask */
	mask(0, true);
	message(0, 0xfee02000, 0x22);
	assert_int_equal(atomic_load(&b->route_sets), 1);
	mask(0, false);
	assert_int_equal(atomic_load(&b->route_sets), 2);
	assert_int_equal(b->route_msg[0].data, 0x22);
	/* a driver that does not mask before it writes is served too */
	entry(0, 2, 0x23);
	assert_int_equal(b->route_msg[0].data, 0x23);
	msix_notify(dev, 0);
	assert_int_equal(bench_signals(b, 0), 1);
	/* the same after a reset */
	device_reset(&dev->dev);
	bench_assign(b);
	enable();
	message(0, 0xfee02000, 0x23);
	mask(0, false);
	assert_int_equal(atomic_load(&b->route_sets), 3);
	assert_int_equal(atomic_load(&b->routes), 1);
}

static void function_mask(void **state)
{
	(void)state;
	enable();
	for (unsigned v = 0; v < 4; v++) {
		message(v, 0xfee00000, 0x30 + v);
		mask(v, v == 3);
	}
	control(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	for (unsigned v = 0; v < 4; v++)
		msix_notify(dev, v);
	assert_int_equal(pending(), 0xf);
	for (unsigned v = 0; v < 3; v++)
		assert_int_equal(bench_signals(b, v), 0);
	control(PCI_MSIX_FLAGS_ENABLE);
	assert_int_equal(pending(), 8);
	for (unsigned v = 0; v < 3; v++)
		assert_int_equal(bench_signals(b, v), 1);
	/* no bus mastering: a message is a write that cannot be made */
	cfg_write(b, dev, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	msix_notify(dev, 0);
	assert_int_equal(pending(), 9);
	cfg_write(b, dev, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	assert_int_equal(pending(), 8);
	assert_int_equal(bench_signals(b, 0), 1);
	/* disabled: what is raised now is there when it is enabled again */
	control(0);
	assert_false(msix_enabled(dev));
	msix_notify(dev, 2);
	assert_int_equal(bench_signals(b, 2), 0);
	control(PCI_MSIX_FLAGS_ENABLE);
	assert_int_equal(bench_signals(b, 2), 1);
	/* a reset forgets it */
	msix_notify(dev, 3);
	device_reset(&dev->dev);
	bench_assign(b);
	assert_int_equal(pending(), 0);
}

static void bad_messages(void **state)
{
	static const uint64_t bad[] = { 0, 0x1000, 0xfedffffc, 0xfef00000, 0x1fee00000, UINT64_MAX & ~3ull };

	(void)state;
	enable();
	msix_notify(dev, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		message(0, bad[i], 0x31);
		mask(0, false);
		assert_true(msix_refused(dev) > i);
		msix_notify(dev, 0);
		assert_int_equal(bench_signals(b, 0), 0);
		assert_int_equal(pending(), 1);
		mask(0, true);
	}
	message(0, 0xfee00000, 0x31);
	mask(0, false);
	assert_int_equal(bench_signals(b, 0), 1);
	/* a good one that turns bad while in use */
	entry(0, 1, 1);
	msix_notify(dev, 0);
	assert_int_equal(bench_signals(b, 0), 0);
	entry(0, 1, 0);
	assert_int_equal(bench_signals(b, 0), 1);
	/* no more routes */
	atomic_store(&b->route_limit, 1);
	message(1, 0xfee00000, 0x32);
	mask(1, false);
	msix_notify(dev, 1);
	assert_int_equal(pending(), 2);
	atomic_store(&b->route_limit, 2);
	mask(1, false);
	assert_int_equal(bench_signals(b, 1), 1);
}

/* All sizes at all offsets of table and PBA, and around their ends. */
static void access_sizes(void **state)
{
	(void)state;
	enable();
	for (unsigned size = 1; size <= 8; size *= 2) {
		for (unsigned off = 0; off < 80; off++) {
			bench_write(b, table + off, UINT64_MAX, size);
			bench_read(b, table + off, size);
		}
		for (unsigned off = 0; off < 24; off++) {
			bench_write(b, pba + off, UINT64_MAX, size);
			bench_read(b, pba + off, size);
		}
		assert_int_equal(pending(), 0);
	}
	for (unsigned v = 0; v < 4; v++) {
		assert_true(bench_read(b, table + 16 * v, 8) == 0xfffffffffffffffc); /* the low two bits are none */
		assert_true(bench_read(b, table + 16 * v + 8, 8) == 0x1ffffffff);
	}
	bench_write(b, table + 16, 0x12, 1);
	bench_write(b, table + 16, 0x1234, 2);
	assert_true(bench_read(b, table + 16, 4) == 0xfffffffc);
	assert_true(bench_read(b, table + 16, 1) == 0xff);
	assert_true(bench_read(b, table + 64, 4) == UINT32_MAX); /* behind the last entry */
	msix_notify(dev, 4);
	msix_notify(dev, 0xfffe);
	msix_notify(dev, MSIX_NO_VECTOR);
	msix_notify(dev, UINT32_MAX);
	assert_int_equal(pending(), 0);
	/* a whole half entry in one access */
	bench_write(b, table, 0xfee00000, 8);
	bench_write(b, table + 8, 0x55, 8);
	msix_notify(dev, 0);
	assert_int_equal(bench_signals(b, 0), 1);
	assert_int_equal(b->route_msg[0].data, 0x55);
}

static void most_vectors(void **state)
{
	(void)state;
	start("test-pci,vectors=2048");
	enable();
	assert_int_equal(cfg_read(b, dev, cap + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_QSIZE, 2047);
	for (unsigned v = 0; v < 2048; v += 97)
		msix_notify(dev, v);
	for (unsigned word = 0; word < 2048 / 64; word++)
		for (unsigned bit = 0; bit < 64; bit++)
			assert_int_equal(bench_read(b, pba + 8 * word, 8) >> bit & 1, (word * 64 + bit) % 97 == 0);
	message(2047, 0xfee00000, 0x66);
	mask(2047, false);
	msix_notify(dev, 2047);
	assert_int_equal(bench_signals(b, 0), 1);
	bench_add_fails("test-pci,vectors=2049");
}

/* ---- threads ---- */

#define NOTIFIERS 3

struct race {
	_Atomic bool stop;
	_Atomic unsigned work;	    /* what there is to see */
	_Atomic unsigned seen;	    /* what the guest's handler saw */
	_Atomic unsigned long sent; /* msix_notify() calls */
	_Atomic unsigned long got;  /* signals */
};

static void notifier(struct bench_vcpu *v)
{
	struct race *r = v->arg;

	while (!atomic_load(&r->stop)) {
		atomic_fetch_add(&r->work, 1);
		atomic_fetch_add(&r->sent, 1);
		msix_notify(dev, 0);
		if (bench_random(v) % 4 == 0)
			sched_yield();
	}
}

/* What the guest's handler does with the signals so far: if there are any, look at everything there is. */
static void handle(struct race *r)
{
	uint64_t n = bench_signals(b, 0);

	atomic_fetch_add(&r->got, n);
	if (n)
		atomic_store(&r->seen, atomic_load(&r->work));
}

static void *handler(void *arg)
{
	struct race *r = arg;
	struct pollfd p = { .fd = b->route_fd[0], .events = POLLIN };

	while (!atomic_load(&r->stop)) {
		if (poll(&p, 1, 10) == 1)
			handle(r);
	}
	return NULL;
}

/*
 * Notifiers against a vCPU that masks and unmasks: nothing is lost (after the last unmask the handler has seen all
 * work), nothing is made up (not more signals than notifications).
 */
static void race_nothing_lost(void **state)
{
	struct bench_vcpu v[NOTIFIERS];
	struct race r = { 0 };
	pthread_t h;

	(void)state;
	enable();
	message(0, 0xfee00000, 0x77);
	mask(0, false);
	assert_int_equal(pthread_create(&h, NULL, handler, &r), 0);
	for (unsigned round = 0; round < 300; round++) {
		bench_vcpus_start(v, NOTIFIERS, notifier, &r);
		for (unsigned i = 0; i < 20; i++) {
			if (i % 3)
				mask(0, i % 2);
			else
				control(i % 2 ? PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL : PCI_MSIX_FLAGS_ENABLE);
		}
		atomic_store(&r.stop, true);
		bench_vcpus_join(v, NOTIFIERS);
		pthread_join(h, NULL);
		mask(0, false);
		control(PCI_MSIX_FLAGS_ENABLE);
		handle(&r);
		assert_int_equal(atomic_load(&r.seen), atomic_load(&r.work));
		assert_int_equal(pending(), 0);
		assert_true(atomic_load(&r.got) <= atomic_load(&r.sent));
		atomic_store(&r.stop, false);
		assert_int_equal(pthread_create(&h, NULL, handler, &r), 0);
	}
	atomic_store(&r.stop, true);
	pthread_join(h, NULL);
}

/* Between the write that masks and the one that unmasks not one signal is sent. */
static void race_masked_is_silent(void **state)
{
	struct bench_vcpu v[NOTIFIERS];
	struct race r = { 0 };
	unsigned signals = 0, pended = 0;

	(void)state;
	enable();
	message(0, 0xfee00000, 0x78);
	mask(0, false);
	bench_vcpus_start(v, NOTIFIERS, notifier, &r);
	for (unsigned i = 0; i < 5000; i++) {
		mask(0, true);
		signals += bench_signals(b, 0) > 0;
		for (unsigned spin = 0; spin < i % 64; spin++)
			assert_int_equal(bench_signals(b, 0), 0);
		pended += pending() > 0;
		assert_int_equal(bench_signals(b, 0), 0);
		mask(0, false);
	}
	atomic_store(&r.stop, true);
	bench_vcpus_join(v, NOTIFIERS);
	assert_true(signals > 0 && pended > 0); /* it was a race indeed */
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(fresh),
		T(one_vector),
		T(lazy_routes),
		T(function_mask),
		T(bad_messages),
		T(access_sizes),
		T(race_nothing_lost),
		T(race_masked_is_silent),
		cmocka_unit_test_teardown(most_vectors, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
