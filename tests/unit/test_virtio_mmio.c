/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The memory mapped transport of virtio, from the guest's side: a small driver for both versions of its registers, and
 * what no driver should do.
 */
#include "rings.h"

#include <linux/virtio_mmio.h>

#include "virtio/virtio_mmio.h"

#define BASE	 0xd0000000u
#define GSI	 20
#define STARTING (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER)
#define PAGE	 4096

static struct bench bench;
static struct bench *const b = &bench;

struct driver {
	struct virtio_mmio *m;
	struct copier *dev;
	bool legacy;
	struct rings rings;
};

static struct driver g;

/* ---- the guest's driver ---- */

static uint32_t get(unsigned reg)
{
	return (uint32_t)bench_read(b, BASE + reg, 4);
}

static void set(unsigned reg, uint32_t v)
{
	bench_write(b, BASE + reg, v, 4);
}

static uint64_t refused(void)
{
	return counter_get(&g.m->region.refused);
}

static void set_address(unsigned reg, uint64_t v)
{
	set(reg, (uint32_t)v);
	set(reg + 4, (uint32_t)(v >> 32));
}

static void place(unsigned q)
{
	set(VIRTIO_MMIO_QUEUE_NUM, QSIZE);
	if (g.legacy) {
		assert_int_equal(get(VIRTIO_MMIO_QUEUE_PFN), 0);
		set(VIRTIO_MMIO_QUEUE_ALIGN, PAGE);
		set(VIRTIO_MMIO_QUEUE_PFN, (uint32_t)(queue_gpa(q) / PAGE));
		assert_int_equal(get(VIRTIO_MMIO_QUEUE_PFN), queue_gpa(q) / PAGE);
		return;
	}
	assert_int_equal(get(VIRTIO_MMIO_QUEUE_READY), 0);
	set_address(VIRTIO_MMIO_QUEUE_DESC_LOW, queue_gpa(q));
	set_address(VIRTIO_MMIO_QUEUE_AVAIL_LOW, queue_gpa(q) + RING_AVAIL);
	set_address(VIRTIO_MMIO_QUEUE_USED_LOW, queue_gpa(q) + RING_USED);
	set(VIRTIO_MMIO_QUEUE_READY, 1);
	assert_int_equal(get(VIRTIO_MMIO_QUEUE_READY), 1);
}

static void queue_setup(unsigned q)
{
	rings_clear(&g.rings, q);
	set(VIRTIO_MMIO_QUEUE_SEL, q);
	assert_int_equal(get(VIRTIO_MMIO_QUEUE_NUM_MAX), QSIZE);
	place(q);
}

static uint64_t offered(void)
{
	uint64_t f;

	set(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	f = (uint64_t)get(VIRTIO_MMIO_DEVICE_FEATURES) << 32;
	set(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	return f | get(VIRTIO_MMIO_DEVICE_FEATURES);
}

static void negotiate(void)
{
	uint64_t f;

	set(VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(get(VIRTIO_MMIO_STATUS), 0);
	set(VIRTIO_MMIO_STATUS, STARTING);
	f = offered() & ~BIT(VIRTIO_RING_F_EVENT_IDX) & ~BIT(VIRTIO_F_BAD_FEATURE);
	for (unsigned word = 0; word < 2; word++) {
		set(VIRTIO_MMIO_DRIVER_FEATURES_SEL, word);
		set(VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(f >> 32 * word));
	}
	if (g.legacy)
		return;
	set(VIRTIO_MMIO_STATUS, STARTING | VIRTIO_CONFIG_S_FEATURES_OK);
	assert_int_equal(get(VIRTIO_MMIO_STATUS), STARTING | VIRTIO_CONFIG_S_FEATURES_OK);
}

static void driver_ok(void)
{
	set(VIRTIO_MMIO_STATUS, get(VIRTIO_MMIO_STATUS) | VIRTIO_CONFIG_S_DRIVER_OK);
	assert_true(get(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_DRIVER_OK);
}

static void bring_up(void)
{
	negotiate();
	for (unsigned q = 0; q < QUEUES; q++)
		queue_setup(q);
	driver_ok();
}

static void kick(uint32_t q)
{
	set(VIRTIO_MMIO_QUEUE_NOTIFY, q);
}

static void works(unsigned q)
{
	rings_work(&g.rings, q, kick);
}

static void all_work(void)
{
	for (unsigned q = 0; q < QUEUES; q++)
		works(q);
}

/* ---- fixtures ---- */

static const struct type *const types[] = { &type_virtio_device, &type_virtio_mmio, &type_copier, NULL };

static struct loop *loop_for(void *arg)
{
	return arg;
}

struct setting {
	bool legacy, no_ioeventfd;
};

static int globals(void *arg, struct object *o, struct error *err)
{
	const struct setting *s = arg;

	return object_set(o, "force-legacy", s->legacy ? "on" : "off", err) ?:
		       object_set(o, "ioeventfd", s->no_ioeventfd ? "off" : "on", err);
}

static struct virtio_mmio *transport(unsigned i, struct setting s)
{
	struct virtio_mmio_place at = {
		.index = i,
		.mem = b->mem,
		.base = BASE + i * VIRTIO_MMIO_SIZE,
		.priority = 1,
		.gsi = GSI + i,
		.irq = &b->irq,
		.ram = &b->ram,
		.main_loop = b->loop,
		.place = loop_for,
		.place_arg = b->loop,
	};
	struct error err;
	struct virtio_mmio *m = virtio_mmio_new(&at, globals, &s, &err);

	assert_non_null(m);
	return m;
}

static struct copier *plug(struct virtio_mmio *m)
{
	struct error err;
	struct object *o = object_new("copier", &err);

	assert_non_null(o);
	if (device_realize(to_device(o), &m->bus, &err) < 0)
		bench_fail(err.msg);
	return to_copier(to_virtio_device(to_device(o)));
}

static void start(struct setting s)
{
	bench_init(b, types, false);
	g = (struct driver){ .m = transport(0, s), .legacy = s.legacy, .rings.b = b };
	g.dev = plug(g.m);
	set(VIRTIO_MMIO_GUEST_PAGE_SIZE, PAGE);
}

static void stop(void)
{
	device_del(&g.dev->v.dev);
	virtio_mmio_free(g.m);
	bench_destroy(b);
}

/* Each test once for each version. */
static void each_version(void (*fn)(void))
{
	for (unsigned legacy = 0; legacy < 2; legacy++) {
		start((struct setting){ .legacy = legacy });
		fn();
		stop();
	}
}

/* ---- what a driver finds ---- */

static void look(void)
{
	assert_int_equal(get(VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
	assert_int_equal(get(VIRTIO_MMIO_VERSION), g.legacy ? 1 : 2);
	assert_int_equal(get(VIRTIO_MMIO_DEVICE_ID), COPIER_ID);
	assert_int_equal(get(VIRTIO_MMIO_VENDOR_ID), 0x1af4);
	if (g.legacy) {
		assert_int_equal(offered(), (uint32_t)g.dev->v.host_features | BIT(24) | BIT(27) | BIT(30));
	} else {
		assert_true(offered() == g.dev->v.host_features);
		assert_int_equal(get(VIRTIO_MMIO_SHM_LEN_LOW), UINT32_MAX);
	}
	set(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
	assert_int_equal(get(VIRTIO_MMIO_DEVICE_FEATURES), 0);
	for (unsigned i = 0; i < CONFIG_LEN; i++)
		g.dev->config[i] = (uint8_t)(0x10 + i);
	assert_int_equal(get(VIRTIO_MMIO_CONFIG), 0x13121110);
	assert_int_equal(bench_read(b, BASE + VIRTIO_MMIO_CONFIG + 5, 1), 0x15);
	assert_int_equal(bench_read(b, BASE + VIRTIO_MMIO_CONFIG + 6, 2), 0x1716);
	assert_true(bench_read(b, BASE + VIRTIO_MMIO_CONFIG, 8) == 0x1716151413121110);
	assert_int_equal(get(VIRTIO_MMIO_CONFIG + 12), 0x1c); /* beyond the end: 0 */
	assert_int_equal(get(VIRTIO_MMIO_SIZE - 4), 0);
	bench_write(b, BASE + VIRTIO_MMIO_CONFIG + 1, 0x99, 1);
	assert_int_equal(g.dev->config[1], 0x99);
}

static void identity(void **state)
{
	(void)state;
	each_version(look);
}

static void work_in_all_forms(void **state)
{
	(void)state;
	for (unsigned form = 0; form < 4; form++) {
		start((struct setting){ .legacy = form & 1, .no_ioeventfd = form & 2 });
		for (unsigned round = 0; round < 3; round++) {
			bring_up();
			all_work();
			all_work();
			assert_int_equal(g.dev->starts, round + 1);
		}
		stop();
	}
}

/* Levels: asserted while a bit of the status is set, whoever acknowledges which. */
static void interrupts(void)
{
	int *level = (int *)&b->level[GSI];

	bring_up();
	for (unsigned i = 0; i < 5; i++) {
		works(i % QUEUES);
		assert_int_equal(*level, 1);
		assert_int_equal(get(VIRTIO_MMIO_INTERRUPT_STATUS), 1);
		assert_int_equal(get(VIRTIO_MMIO_INTERRUPT_STATUS), 1); /* reading acknowledges nothing */
		set(VIRTIO_MMIO_INTERRUPT_ACK, 1);
		assert_int_equal(*level, 0);
		assert_int_equal(get(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	}
	virtio_config_changed(&g.dev->v);
	bench_settle(b);
	works(0);
	assert_int_equal(get(VIRTIO_MMIO_INTERRUPT_STATUS), 3);
	set(VIRTIO_MMIO_INTERRUPT_ACK, 1);
	assert_int_equal(*level, 1);
	set(VIRTIO_MMIO_INTERRUPT_ACK, 0xfffffffc);
	assert_int_equal(get(VIRTIO_MMIO_INTERRUPT_STATUS), 2);
	set(VIRTIO_MMIO_INTERRUPT_ACK, 2);
	assert_int_equal(*level, 0);
	works(0);
	set(VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(*level, 0);
}

static void line(void **state)
{
	(void)state;
	each_version(interrupts);
}

static void several(void **state)
{
	struct virtio_mmio *other;
	struct copier *dev;

	(void)state;
	start((struct setting){ .legacy = false });
	other = transport(1, (struct setting){ .legacy = true });
	assert_int_equal(bench_read(b, BASE + VIRTIO_MMIO_SIZE, 4), UINT32_MAX); /* nothing is on it */
	dev = plug(other);
	assert_int_equal(bench_read(b, BASE + VIRTIO_MMIO_SIZE + VIRTIO_MMIO_VERSION, 4), 1);
	bring_up();
	works(0);
	assert_int_equal(atomic_load(&b->level[GSI]), 1);
	assert_int_equal(atomic_load(&b->level[GSI + 1]), 0);
	/* It goes, and its place is free for another. */
	device_del(&dev->v.dev);
	assert_int_equal(bench_read(b, BASE + VIRTIO_MMIO_SIZE, 4), UINT32_MAX);
	dev = plug(other);
	assert_int_equal(bench_read(b, BASE + VIRTIO_MMIO_SIZE, 4), 0x74726976);
	all_work();
	device_del(&dev->v.dev);
	virtio_mmio_free(other);
	stop();
}

static void a_bus_takes_one(void **state)
{
	struct error err;
	struct object *o;

	(void)state;
	start((struct setting){ .legacy = false });
	o = object_new("copier", &err);
	assert_true(device_realize(to_device(o), &g.m->bus, &err) < 0);
	assert_int_equal(object_set(o, "rejects", "on", &err), 0);
	object_free(o);
	bring_up();
	all_work();
	/* One that fails leaves the place as it was. */
	device_del(&g.dev->v.dev);
	o = object_new("copier", &err);
	assert_int_equal(object_set(o, "rejects", "on", &err), 0);
	assert_true(device_realize(to_device(o), &g.m->bus, &err) < 0);
	object_free(o);
	assert_int_equal(bench_read(b, BASE, 4), UINT32_MAX);
	g.dev = plug(g.m);
	bring_up();
	all_work();
	stop();
}

/* ---- version 1 ---- */

static void kicked_before_driver_ok(void **state)
{
	(void)state;
	start((struct setting){ .legacy = true });
	for (unsigned round = 0; round < 2; round++) {
		negotiate();
		for (unsigned q = 0; q < QUEUES; q++)
			queue_setup(q);
		assert_true(g.m->bells[0].fd < 0);
		all_work();
		assert_true(g.m->bells[0].fd >= 0);
		assert_int_equal(get(VIRTIO_MMIO_STATUS), STARTING);
		driver_ok();
		all_work();
	}
	stop();
}

static void numbers_of_old(void **state)
{
	static const uint32_t bad_page[] = { 0, 3, 4097, UINT32_MAX }, bad_align[] = { 0, 1, 2, 3, 4097, 0x80000000 };
	static const uint32_t bad_pfn[] = { BENCH_RAM / PAGE, BENCH_RAM / PAGE - 1, UINT32_MAX };

	(void)state;
	start((struct setting){ .legacy = true });
	for (unsigned i = 0; i < ARRAY_SIZE(bad_page) + ARRAY_SIZE(bad_align) + ARRAY_SIZE(bad_pfn); i++) {
		unsigned k = i - ARRAY_SIZE(bad_page), n = k - ARRAY_SIZE(bad_align);

		negotiate();
		set(VIRTIO_MMIO_QUEUE_SEL, 0);
		set(VIRTIO_MMIO_QUEUE_NUM, QSIZE);
		set(VIRTIO_MMIO_GUEST_PAGE_SIZE, i < ARRAY_SIZE(bad_page) ? bad_page[i] : PAGE);
		set(VIRTIO_MMIO_QUEUE_ALIGN, k < ARRAY_SIZE(bad_align) ? bad_align[k] : PAGE);
		set(VIRTIO_MMIO_QUEUE_PFN, n < ARRAY_SIZE(bad_pfn) ? bad_pfn[n] : 16);
		assert_int_equal(get(VIRTIO_MMIO_QUEUE_PFN), 0);
		assert_true(atomic_load(&g.dev->v.broken));
		assert_false(get(VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_NEEDS_RESET);
		set(VIRTIO_MMIO_GUEST_PAGE_SIZE, PAGE);
	}
	/* What the driver told before its first reset counts behind it: Linux does so. */
	bring_up();
	all_work();
	/* Small pages and alignments. */
	negotiate();
	memset(bench_ram(b, queue_gpa(0)), 0, 0x10000);
	set(VIRTIO_MMIO_GUEST_PAGE_SIZE, 64);
	set(VIRTIO_MMIO_QUEUE_SEL, 0);
	set(VIRTIO_MMIO_QUEUE_NUM, 4);
	set(VIRTIO_MMIO_QUEUE_ALIGN, 4);
	set(VIRTIO_MMIO_QUEUE_PFN, (uint32_t)(queue_gpa(0) / 64));
	assert_int_equal(get(VIRTIO_MMIO_QUEUE_PFN), queue_gpa(0) / 64);
	assert_true(g.dev->v.queue[0].q.device_gpa == queue_gpa(0) + 4 * 16 + ALIGN_UP(2 * (3 + 4), 4));
	device_reset(&g.m->dev);
	assert_int_equal(g.m->guest_page, 0);
	stop();
}

static void queue_taken_away(void)
{
	bring_up();
	all_work();
	set(VIRTIO_MMIO_QUEUE_SEL, 1);
	set(g.legacy ? VIRTIO_MMIO_QUEUE_PFN : VIRTIO_MMIO_QUEUE_READY, 0);
	assert_int_equal(get(g.legacy ? VIRTIO_MMIO_QUEUE_PFN : VIRTIO_MMIO_QUEUE_READY), 0);
	rings_post(&g.rings, 1, 5);
	kick(1);
	bench_settle(b);
	assert_int_equal(rings_used(&g.rings, 1), (uint16_t)(g.rings.avail[1] - 1));
	works(0);
	works(2);
	bring_up();
	all_work();
}

static void queues_end(void **state)
{
	(void)state;
	each_version(queue_taken_away);
}

/* ---- what no driver should do ---- */

static void out_of_range(void)
{
	static const uint32_t index[] = { QUEUES, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000, UINT32_MAX };

	for (unsigned up = 0; up < 2; up++) {
		for (unsigned i = 0; i < ARRAY_SIZE(index); i++) {
			uint64_t before = refused();

			kick(index[i]);
			assert_int_equal(refused(), before + 1);
			set(VIRTIO_MMIO_QUEUE_SEL, index[i]);
			assert_int_equal(get(VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
			assert_int_equal(get(g.legacy ? VIRTIO_MMIO_QUEUE_PFN : VIRTIO_MMIO_QUEUE_READY), 0);
			for (unsigned reg = VIRTIO_MMIO_QUEUE_NUM; reg <= VIRTIO_MMIO_QUEUE_READY; reg += 4)
				set(reg, 1);
		}
		bench_settle(b);
		bring_up();
		all_work();
	}
}

static void indices(void **state)
{
	(void)state;
	each_version(out_of_range);
}

static void ring_sizes(void)
{
	static const uint32_t size[] = { 0, 3, 63, 128, 0x8000, 0x10040, UINT32_MAX };

	for (unsigned i = 0; i < ARRAY_SIZE(size); i++) {
		negotiate();
		set(VIRTIO_MMIO_QUEUE_SEL, 0);
		set(VIRTIO_MMIO_QUEUE_NUM, size[i]);
		assert_int_equal(get(VIRTIO_MMIO_QUEUE_NUM_MAX), QSIZE);
		if (g.legacy) {
			set(VIRTIO_MMIO_QUEUE_ALIGN, PAGE);
			set(VIRTIO_MMIO_QUEUE_PFN, 16);
		} else {
			set_address(VIRTIO_MMIO_QUEUE_DESC_LOW, 0x10000);
			set_address(VIRTIO_MMIO_QUEUE_AVAIL_LOW, 0x20000);
			set_address(VIRTIO_MMIO_QUEUE_USED_LOW, 0x30000);
			set(VIRTIO_MMIO_QUEUE_READY, 1);
			assert_int_equal(get(VIRTIO_MMIO_QUEUE_READY), 0);
			assert_true(get(VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_NEEDS_RESET);
		}
		assert_true(atomic_load(&g.dev->v.broken));
		kick(0);
		bench_settle(b);
	}
	bring_up();
	all_work();
}

static void sizes(void **state)
{
	(void)state;
	each_version(ring_sizes);
}

/* A driver of 1.0 finds its queues as it left them, once they are ready and once it runs. */
static void frozen(void **state)
{
	(void)state;
	start((struct setting){ .legacy = false });
	negotiate();
	for (unsigned q = 0; q < QUEUES; q++)
		queue_setup(q);
	for (unsigned live = 0; live < 2; live++) {
		struct virtq before = g.dev->v.queue[0].q;

		set(VIRTIO_MMIO_QUEUE_SEL, 0);
		set(VIRTIO_MMIO_QUEUE_NUM, 8);
		for (unsigned reg = VIRTIO_MMIO_QUEUE_DESC_LOW; reg <= VIRTIO_MMIO_QUEUE_USED_HIGH; reg += 4)
			set(reg, 0xdeadbee0);
		assert_int_equal(g.dev->v.queue[0].q.size, before.size);
		assert_true(g.dev->v.queue[0].q.desc_gpa == before.desc_gpa);
		assert_true(g.dev->v.queue[0].q.driver_gpa == before.driver_gpa);
		assert_true(g.dev->v.queue[0].q.device_gpa == before.device_gpa);
		if (!live)
			driver_ok();
		set(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
		set(VIRTIO_MMIO_DRIVER_FEATURES, 0);
		assert_true(g.dev->v.guest_features != 0);
		all_work();
	}
	stop();
}

/* Neither version has the registers of the other. */
static void other_version(void)
{
	static const uint16_t legacy[] = { VIRTIO_MMIO_QUEUE_ALIGN, VIRTIO_MMIO_QUEUE_PFN,
					   VIRTIO_MMIO_GUEST_PAGE_SIZE };
	static const uint16_t modern[] = { VIRTIO_MMIO_QUEUE_READY, VIRTIO_MMIO_QUEUE_DESC_LOW,
					   VIRTIO_MMIO_QUEUE_AVAIL_HIGH };
	const uint16_t *reg = g.legacy ? modern : legacy;

	bring_up();
	for (unsigned i = 0; i < 3; i++) {
		uint64_t before = refused();

		set(VIRTIO_MMIO_QUEUE_SEL, 0);
		set(reg[i], 1);
		assert_int_equal(get(reg[i]), 0);
		assert_int_equal(refused(), before + 2);
	}
	all_work();
}

static void versions(void **state)
{
	(void)state;
	each_version(other_version);
}

/* Every offset, every width, aligned or not, beside a driver that works. */
static void sweep_all(void)
{
	bring_up();
	for (unsigned size = 1; size <= 8; size *= 2) {
		for (unsigned off = 0; off < VIRTIO_MMIO_SIZE + 8; off++) {
			uint64_t before = refused();
			uint64_t v = bench_read(b, BASE + off, size);

			if (off % size == 0 && off < VIRTIO_MMIO_CONFIG && size < 4) {
				assert_int_equal(v, 0);
				assert_int_equal(refused(), before + 1);
			}
			if (off % 4 || size != 4)
				bench_write(b, BASE + off, 0xa5a5a5a5a5a5a5a5, size == 8 ? 1 : size);
		}
	}
	all_work();
}

static void sweep(void **state)
{
	(void)state;
	each_version(sweep_all);
}

/* Anything, anywhere, in any order: it survives, and a driver finds it as new. */
static void anything(void)
{
	uint32_t seed = 12345;

	for (unsigned i = 0; i < 100000; i++) {
		unsigned off;

		seed = seed * 1664525 + 1013904223;
		off = (seed >> 8 & 0x3f) * 4;
		if (seed >> 31)
			get(off);
		else
			set(off, seed >> 20 & 1 ? seed >> 4 & 0x3f : seed * 31);
		if (i % 64 == 0)
			bench_settle(b);
	}
	memset(bench_ram(b, 0), 0, BENCH_RAM);
	set(VIRTIO_MMIO_GUEST_PAGE_SIZE, PAGE);
	bring_up();
	all_work();
}

static void nonsense(void **state)
{
	(void)state;
	each_version(anything);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(identity),
		cmocka_unit_test(work_in_all_forms),
		cmocka_unit_test(line),
		cmocka_unit_test(several),
		cmocka_unit_test(a_bus_takes_one),
		cmocka_unit_test(kicked_before_driver_ok),
		cmocka_unit_test(numbers_of_old),
		cmocka_unit_test(queues_end),
		cmocka_unit_test(indices),
		cmocka_unit_test(sizes),
		cmocka_unit_test(frozen),
		cmocka_unit_test(versions),
		cmocka_unit_test(sweep),
		cmocka_unit_test(nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
