/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The legacy PCI interface of virtio, from the guest's side: a small driver from before virtio 1.0, what such drivers
 * are known to do, and what no driver should.
 */
#include "rings.h"

#include <linux/virtio_pci.h>

#include "virtio/virtio_pci.h"

#define NO_VECTOR     0xffff
#define LEGACY_DEVICE 0x103f
#define STARTING      (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER)

static struct bench bench;
static struct bench *const b = &bench;

/* ---- the device, as a PCI function ---- */

static void legacy_init(struct class *class)
{
	struct virtio_pci_class *c = to_virtio_pci_class(class);

	c->child = "copier";
	c->pci.device = VIRTIO_PCI_DEVICE(COPIER_ID);
	c->pci.class_code = 0xff0000;
	c->legacy_device = LEGACY_DEVICE;
	c->legacy_subsystem = COPIER_ID;
}

static void transitional_init(struct class *class)
{
	legacy_init(class);
	to_virtio_pci_class(class)->kind = VIRTIO_PCI_TRANSITIONAL;
}

static void non_transitional_init(struct class *class)
{
	legacy_init(class);
	to_virtio_pci_class(class)->kind = VIRTIO_PCI_NON_TRANSITIONAL;
}

static const struct opt generic_props[] = { VIRTIO_PCI_GENERIC_PROPS, OPT_END };

static const struct type type_generic = { .name = "copier-pci",
					  .parent = "virtio-pci",
					  .class_init = legacy_init,
					  .props = generic_props };
static const struct type type_transitional = { .name = "copier-pci-transitional",
					       .parent = "virtio-pci",
					       .class_init = transitional_init };
static const struct type type_non_transitional = { .name = "copier-pci-non-transitional",
						   .parent = "virtio-pci",
						   .class_init = non_transitional_init };

static const struct type *const types[] = { &type_virtio_device, &type_virtio_pci,	 &type_copier, &type_generic,
					    &type_transitional,	 &type_non_transitional, NULL };

/* ---- the guest's driver ---- */

struct driver {
	struct pci_device *p;
	struct virtio_pci *vp;
	struct copier *dev;
	uint64_t io;
	struct rings rings;
};

static struct driver g;

static uint32_t get(unsigned reg, unsigned size)
{
	uint64_t v = 0;

	space_read(b->io, g.io + reg, size, &v);
	return (uint32_t)v;
}

static void set(unsigned reg, uint32_t v, unsigned size)
{
	space_write(b->io, g.io + reg, size, v);
}

static uint8_t status(void)
{
	return (uint8_t)get(VIRTIO_PCI_STATUS, 1);
}

static void set_status(uint8_t v)
{
	set(VIRTIO_PCI_STATUS, v, 1);
}

static uint64_t refused(void)
{
	return counter_get(&g.vp->legacy_io.refused);
}

static void queue_setup(unsigned q)
{
	rings_clear(&g.rings, q);
	set(VIRTIO_PCI_QUEUE_SEL, q, 2);
	assert_int_equal(get(VIRTIO_PCI_QUEUE_SEL, 2), q);
	assert_int_equal(get(VIRTIO_PCI_QUEUE_NUM, 2), QSIZE);
	assert_int_equal(get(VIRTIO_PCI_QUEUE_PFN, 4), 0);
	set(VIRTIO_PCI_QUEUE_PFN, (uint32_t)(queue_gpa(q) >> 12), 4);
	assert_int_equal(get(VIRTIO_PCI_QUEUE_PFN, 4), queue_gpa(q) >> 12);
}

static void queues_setup(void)
{
	for (unsigned q = 0; q < QUEUES; q++)
		queue_setup(q);
}

/* As drivers did it: no word of FEATURES_OK. */
static void negotiate(uint32_t without)
{
	set_status(0);
	assert_int_equal(status(), 0);
	set_status(VIRTIO_CONFIG_S_ACKNOWLEDGE);
	set_status(STARTING);
	set(VIRTIO_PCI_GUEST_FEATURES,
	    get(VIRTIO_PCI_HOST_FEATURES, 4) & ~(without | (uint32_t)BIT(VIRTIO_F_BAD_FEATURE)), 4);
}

static void msix_setup(void)
{
	cfg_write(b, g.p, bench_cap(b, g.p, PCI_CAP_ID_MSIX) + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, 2);
	for (unsigned v = 0; v < msix_vectors(g.p); v++) {
		bench_write(b, bench_bar(b, g.p, 1) + 16 * v, 0xfee00000, 8);
		bench_write(b, bench_bar(b, g.p, 1) + 16 * v + 8, 0x40 + v, 8);
	}
	set(VIRTIO_MSI_CONFIG_VECTOR, 0, 2);
	assert_int_equal(get(VIRTIO_MSI_CONFIG_VECTOR, 2), 0);
	for (unsigned q = 0; q < QUEUES; q++) {
		set(VIRTIO_PCI_QUEUE_SEL, q, 2);
		set(VIRTIO_MSI_QUEUE_VECTOR, q + 1, 2);
		assert_int_equal(get(VIRTIO_MSI_QUEUE_VECTOR, 2), q + 1);
	}
}

#define NO_EVENT_IDX ((uint32_t)BIT(VIRTIO_RING_F_EVENT_IDX))

static void bring_up(bool msix)
{
	negotiate(NO_EVENT_IDX);
	queues_setup();
	if (msix)
		msix_setup();
	set_status(STARTING | VIRTIO_CONFIG_S_DRIVER_OK);
	assert_int_equal(status(), STARTING | VIRTIO_CONFIG_S_DRIVER_OK);
}

static void kick(unsigned q)
{
	set(VIRTIO_PCI_QUEUE_NOTIFY, q, 2);
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

static void stands_still(unsigned q)
{
	uint16_t before = rings_used(&g.rings, q);

	rings_post(&g.rings, q, 1);
	kick(q);
	bench_settle(b);
	assert_int_equal(rings_used(&g.rings, q), before);
}

/* ---- the same device by its modern registers ---- */

static uint64_t modern(unsigned reg)
{
	return bench_bar(b, g.p, VIRTIO_PCI_BAR_REGS) + reg;
}

static uint8_t modern_status(void)
{
	return (uint8_t)bench_read(b, modern(VIRTIO_PCI_COMMON_STATUS), 1);
}

/* Features from the modern side, up to FEATURES_OK. */
static void modern_features(uint64_t f)
{
	for (unsigned word = 0; word < 2; word++) {
		bench_write(b, modern(VIRTIO_PCI_COMMON_GFSELECT), word, 4);
		bench_write(b, modern(VIRTIO_PCI_COMMON_GF), (uint32_t)(f >> 32 * word), 4);
	}
	bench_write(b, modern(VIRTIO_PCI_COMMON_STATUS), STARTING | VIRTIO_CONFIG_S_FEATURES_OK, 1);
}

/* ---- fixtures ---- */

static void start(const char *text)
{
	bench_init(b, types, false);
	g = (struct driver){ .p = bench_add(text), .rings.b = b };
	bench_assign(b);
	g.vp = to_virtio_pci(g.p);
	g.dev = to_copier(g.vp->vdev);
	g.io = bench_bar(b, g.p, 0);
	cfg_write(b, g.p, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
}

static int setup(void **state)
{
	(void)state;
	start("copier-pci");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	bench_destroy(b);
	return 0;
}

/* ---- what a driver finds ---- */

static void looks_legacy(bool legacy, bool modern)
{
	assert_int_equal(cfg_read(b, g.p, PCI_DEVICE_ID, 2), legacy ? LEGACY_DEVICE : 0x1040 + COPIER_ID);
	assert_int_equal(cfg_read(b, g.p, PCI_REVISION_ID, 1), !legacy);
	assert_int_equal(cfg_read(b, g.p, PCI_SUBSYSTEM_VENDOR_ID, 2), 0x1af4);
	assert_int_equal(cfg_read(b, g.p, PCI_SUBSYSTEM_ID, 2), legacy ? COPIER_ID : 0x1100);
	assert_int_equal(cfg_read(b, g.p, PCI_BASE_ADDRESS_0, 1) & 3, legacy);
	assert_int_equal(g.p->bar[0].size, legacy ? 64 : 0);
	assert_int_equal(!!g.p->bar[VIRTIO_PCI_BAR_REGS].size, modern);
	assert_int_equal(!!bench_cap(b, g.p, PCI_CAP_ID_VNDR), modern);
	assert_true(bench_cap(b, g.p, PCI_CAP_ID_MSIX));
}

static void identity(void **state)
{
	static const struct {
		const char *text;
		bool legacy, modern;
	} form[] = {
		{ "copier-pci", true, true },
		{ "copier-pci,disable-legacy=off", true, true },
		{ "copier-pci,disable-legacy=on", false, true },
		{ "copier-pci,disable-modern=on", true, false },
		{ "copier-pci,disable-modern=on,disable-legacy=off", true, false },
		{ "copier-pci-transitional", true, true },
		{ "copier-pci-non-transitional", false, true },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(form); i++) {
		start(form[i].text);
		looks_legacy(form[i].legacy, form[i].modern);
		bench_destroy(b);
	}
	start("copier-pci,addr=5");
	assert_non_null(strstr(bench_add_fails("copier-pci,disable-modern=on,disable-legacy=on"), "no interface"));
	bench_add_fails("copier-pci-transitional,disable-legacy=on");
	bench_add_fails("copier-pci-non-transitional,disable-modern=on");
	bench_destroy(b);
}

static void work_in_all_forms(void **state)
{
	static const char *const form[] = { "copier-pci",
					    "copier-pci,ioeventfd=off",
					    "copier-pci,disable-modern=on",
					    "copier-pci,disable-modern=on,ioeventfd=off",
					    "copier-pci,vectors=0",
					    "copier-pci,vectors=0,disable-modern=on,page-per-vq=on",
					    "copier-pci-transitional,any_layout=off,notify_on_empty=off" };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(form); i++) {
		start(form[i]);
		for (unsigned round = 0; round < 3; round++) {
			bring_up(round == 2 && !strstr(form[i], "vectors=0"));
			all_work();
			all_work();
		}
		assert_int_equal(g.dev->starts, 3);
		bench_destroy(b);
	}
}

/* The configuration moves by four bytes while MSI-X is enabled, and the vectors are where it was. */
static void config_moves(void **state)
{
	uint64_t before;

	(void)state;
	for (unsigned i = 0; i < CONFIG_LEN; i++)
		g.dev->config[i] = (uint8_t)(0x10 + i);
	assert_int_equal(get(20, 4), 0x13121110);
	assert_int_equal(get(22, 2), 0x1312);
	assert_int_equal(get(20 + CONFIG_LEN - 1, 1), 0x10 + CONFIG_LEN - 1);
	assert_int_equal(get(20 + CONFIG_LEN - 1, 2), 0x1c);
	assert_int_equal(get(20 + 12, 4), 0x1c); /* beyond the end: 0 */
	assert_int_equal(get(60, 4), 0);
	set(21, 0x99, 1);
	assert_int_equal(g.dev->config[1], 0x99);
	bring_up(true);
	assert_int_equal(get(20, 2), 0);
	assert_int_equal(get(24, 2), 0x9910);
	assert_int_equal(get(24 + 12, 4), 0x1c);
	before = refused();
	assert_int_equal(get(20, 4), 0); /* no register has this width here */
	assert_int_equal(refused(), before + 1);
	cfg_write(b, g.p, bench_cap(b, g.p, PCI_CAP_ID_MSIX) + PCI_MSIX_FLAGS, 0, 2);
	assert_int_equal(get(20, 2), 0x9910);
	all_work();
}

static void features(void **state)
{
	uint32_t offered = get(VIRTIO_PCI_HOST_FEATURES, 4);

	(void)state;
	assert_int_equal(offered, (uint32_t)g.dev->v.host_features | BIT(24) | BIT(27) | BIT(30));
	/* Those three are not for a driver of 1.0. */
	bench_write(b, modern(VIRTIO_PCI_COMMON_DFSELECT), 0, 4);
	assert_int_equal(bench_read(b, modern(VIRTIO_PCI_COMMON_DF), 4), (uint32_t)g.dev->v.host_features);
	set(VIRTIO_PCI_GUEST_FEATURES, UINT32_MAX & ~NO_EVENT_IDX, 4);
	assert_int_equal(get(VIRTIO_PCI_GUEST_FEATURES, 4), UINT32_MAX & ~NO_EVENT_IDX);
	queues_setup();
	set_status(STARTING | VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
	assert_int_equal(status(), STARTING | VIRTIO_CONFIG_S_DRIVER_OK); /* what it does not know is not shown */
	assert_int_equal(get(VIRTIO_PCI_GUEST_FEATURES, 4), offered & ~NO_EVENT_IDX); /* what it got */
	assert_true(g.dev->v.legacy);
	set(VIRTIO_PCI_GUEST_FEATURES, 0, 4);
	assert_int_equal(get(VIRTIO_PCI_GUEST_FEATURES, 4), offered & ~NO_EVENT_IDX);
	all_work();
	set_status(0);
	assert_int_equal(get(VIRTIO_PCI_GUEST_FEATURES, 4), 0);
	assert_false(g.dev->v.legacy);
	bench_destroy(b);
	start("copier-pci,any_layout=off,notify_on_empty=off,indirect_desc=off,event_idx=off");
	assert_int_equal(get(VIRTIO_PCI_HOST_FEATURES, 4), 1 | BIT(30));
}

/* ---- drivers that are not what the standard says now ---- */

/* The first kick starts the device; DRIVER_OK may come later, or never. */
static void kicked_before_driver_ok(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		negotiate(NO_EVENT_IDX);
		queues_setup();
		all_work();
		assert_int_equal(status(), STARTING);
		assert_int_equal(g.dev->starts, round + 1);
		if (round == 1) {
			set_status(STARTING | VIRTIO_CONFIG_S_DRIVER_OK);
			assert_int_equal(g.dev->starts, round + 1);
			all_work();
		}
	}
	/* Not even a word of who is there: the features are none then. */
	set_status(0);
	queues_setup();
	all_work();
	assert_int_equal(get(VIRTIO_PCI_GUEST_FEATURES, 4), 0);
}

/* A queue that is placed when the device runs already is served. */
static void queues_one_by_one(void **state)
{
	(void)state;
	negotiate(NO_EVENT_IDX);
	queue_setup(1);
	works(1);
	queue_setup(2);
	works(2);
	works(1);
	set_status(STARTING | VIRTIO_CONFIG_S_DRIVER_OK);
	queue_setup(0);
	all_work();
}

static void kick_without_a_queue(void **state)
{
	(void)state;
	negotiate(0);
	for (unsigned q = 0; q < QUEUES; q++)
		kick(q);
	bench_settle(b);
	assert_int_equal(g.dev->starts, 0);
	bring_up(false);
	all_work();
}

/* Drivers of old did not turn bus mastering on; one that turns it off later means it. */
static void bus_master(void **state)
{
	(void)state;
	cfg_write(b, g.p, PCI_COMMAND, PCI_COMMAND_IO, 2);
	bring_up(false);
	assert_true(cfg_read(b, g.p, PCI_COMMAND, 2) & PCI_COMMAND_MASTER);
	all_work();
	cfg_write(b, g.p, PCI_COMMAND, PCI_COMMAND_IO, 2);
	set_status(STARTING | VIRTIO_CONFIG_S_DRIVER_OK);
	stands_still(0);
	cfg_write(b, g.p, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MASTER, 2);
	bench_settle(b);
	assert_int_equal(rings_used(&g.rings, 0), g.rings.avail[0]);
}

/* An empty ring is told, whatever the driver suppresses, if it took the feature. */
static void notify_on_empty(void **state)
{
	(void)state;
	for (unsigned with = 0; with < 2; with++) {
		negotiate(NO_EVENT_IDX | (with ? 0 : (uint32_t)BIT(VIRTIO_F_NOTIFY_ON_EMPTY)));
		queues_setup();
		set_status(STARTING | VIRTIO_CONFIG_S_DRIVER_OK);
		*(uint16_t *)bench_ram(b, queue_gpa(0) + RING_AVAIL) = VRING_AVAIL_F_NO_INTERRUPT;
		works(0);
		assert_int_equal(get(VIRTIO_PCI_ISR, 1), with);
		assert_int_equal(get(VIRTIO_PCI_ISR, 1), 0);
		works(0);
		assert_int_equal(get(VIRTIO_PCI_ISR, 1), with);
	}
}

/* ---- interrupts ---- */

static void pin(void **state)
{
	int *level = (int *)&b->level[g.p->intx_gsi];

	(void)state;
	bring_up(false);
	for (unsigned i = 0; i < 5; i++) {
		works(i % QUEUES);
		assert_int_equal(*level, 1);
		assert_int_equal(get(VIRTIO_PCI_ISR, 1), 1);
		assert_int_equal(*level, 0);
		assert_int_equal(get(VIRTIO_PCI_ISR, 1), 0);
	}
	virtio_config_changed(&g.dev->v);
	bench_settle(b);
	works(0);
	assert_int_equal(get(VIRTIO_PCI_ISR, 1), 3);
	works(0);
	set_status(0);
	assert_int_equal(*level, 0);
	assert_int_equal(get(VIRTIO_PCI_ISR, 1), 0);
}

/* In any order, at any time; what does not exist reads back as none. */
static void vectors(void **state)
{
	static const uint16_t bad[] = { QUEUES + 1, 0x7fff, 0x8000, 0xfffe, NO_VECTOR };

	(void)state;
	bring_up(true);
	works(1);
	assert_int_equal(bench_signals(b, 2), 1);
	set(VIRTIO_PCI_QUEUE_SEL, 1, 2);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		set(VIRTIO_MSI_QUEUE_VECTOR, bad[i], 2);
		assert_int_equal(get(VIRTIO_MSI_QUEUE_VECTOR, 2), NO_VECTOR);
		set(VIRTIO_MSI_CONFIG_VECTOR, bad[i], 2);
		assert_int_equal(get(VIRTIO_MSI_CONFIG_VECTOR, 2), NO_VECTOR);
		works(1);
		assert_int_equal(bench_signals(b, 2), 0);
	}
	set(VIRTIO_MSI_QUEUE_VECTOR, 3, 2);
	set(VIRTIO_MSI_CONFIG_VECTOR, 3, 2);
	works(1);
	virtio_config_changed(&g.dev->v);
	bench_settle(b);
	assert_int_equal(bench_signals(b, 3), 2);
	set_status(0);
	assert_int_equal(get(VIRTIO_MSI_QUEUE_VECTOR, 2), NO_VECTOR);
	assert_int_equal(get(VIRTIO_MSI_CONFIG_VECTOR, 2), NO_VECTOR);
}

/* ---- doorbells ---- */

static bool bound(void)
{
	return g.vp->legacy_bells[0].fd >= 0;
}

/* Only a legacy driver that runs has them; each matches its queue's number. */
static void doorbells(void **state)
{
	(void)state;
	for (unsigned q = 0; q < QUEUES; q++) {
		const struct doorbell *d = &g.vp->legacy_io.bells[q];

		assert_true(d->offset == VIRTIO_PCI_QUEUE_NOTIFY && d->width == 2 && d->match && d->value == q);
	}
	assert_false(bound());
	bring_up(false);
	assert_true(bound());
	assert_false(g.vp->bells_bound);
	set_status(0);
	assert_false(bound());
	negotiate(0);
	queues_setup();
	assert_false(bound());
	kick(2);
	assert_true(bound());
	device_reset(&g.p->dev);
	assert_false(bound());
	bench_assign(b);
	cfg_write(b, g.p, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	modern_features(BIT(VIRTIO_F_VERSION_1));
	bench_write(b, modern(VIRTIO_PCI_COMMON_STATUS), modern_status() | VIRTIO_CONFIG_S_DRIVER_OK, 1);
	assert_false(bound());
	assert_true(g.vp->bells_bound);
}

static void bar_moves(void **state)
{
	uint64_t old = g.io;

	(void)state;
	bring_up(false);
	all_work();
	cfg_write(b, g.p, PCI_BASE_ADDRESS_0, 0xe000, 4);
	rings_post(&g.rings, 0, 7);
	space_write(b->io, old + VIRTIO_PCI_QUEUE_NOTIFY, 2, 0);
	bench_settle(b);
	assert_int_equal(rings_used(&g.rings, 0),
			 g.rings.avail[0]); /* the queue's state outlives the move, and what was posted is seen */
	g.io = 0xe000;
	all_work();
	assert_int_equal(get(VIRTIO_PCI_QUEUE_NUM, 2), QSIZE);
}

/* ---- what no driver should do ---- */

static void notify_out_of_range(void **state)
{
	static const uint16_t index[] = { QUEUES, QUEUES + 1, 0x7fff, 0x8000, 0xffff };

	(void)state;
	for (unsigned up = 0; up < 2; up++) {
		for (unsigned i = 0; i < ARRAY_SIZE(index); i++) {
			uint64_t before = refused();

			kick(index[i]);
			assert_int_equal(refused(), before + 1);
		}
		bench_settle(b);
		bring_up(false);
		all_work();
	}
}

static void select_out_of_range(void **state)
{
	static const uint16_t select[] = { QUEUES, 0x7fff, 0x8000, 0xffff };

	(void)state;
	bring_up(true);
	for (unsigned i = 0; i < ARRAY_SIZE(select); i++) {
		set(VIRTIO_PCI_QUEUE_SEL, select[i], 2);
		set(VIRTIO_PCI_QUEUE_PFN, 0x20, 4);
		set(VIRTIO_MSI_QUEUE_VECTOR, 1, 2);
		assert_int_equal(get(VIRTIO_PCI_QUEUE_NUM, 2), 0);
		assert_int_equal(get(VIRTIO_PCI_QUEUE_PFN, 4), 0);
		assert_int_equal(get(VIRTIO_MSI_QUEUE_VECTOR, 2), NO_VECTOR);
	}
	all_work();
}

/* 0 takes a queue out of use, alone; the next ring of it begins anew. */
static void ring_taken_away(void **state)
{
	(void)state;
	bring_up(false);
	all_work();
	set(VIRTIO_PCI_QUEUE_SEL, 1, 2);
	set(VIRTIO_PCI_QUEUE_PFN, 0, 4);
	assert_int_equal(get(VIRTIO_PCI_QUEUE_PFN, 4), 0);
	stands_still(1);
	works(0);
	works(2);
	queue_setup(1);
	all_work();
}

/* While it runs: another place counts from its first entry on, and the old one is not touched any more. */
static void ring_moved(void **state)
{
	uint8_t *old = bench_ram(b, queue_gpa(0)), copy[0x2000];

	(void)state;
	bring_up(false);
	all_work();
	memcpy(copy, old, sizeof(copy));
	memset(bench_ram(b, 0xc0000), 0, 0x2000);
	set(VIRTIO_PCI_QUEUE_SEL, 0, 2);
	set(VIRTIO_PCI_QUEUE_PFN, 0xc0, 4);
	kick(0);
	bench_settle(b);
	works(1);
	assert_memory_equal(copy, old, sizeof(copy));
	assert_int_equal(*(uint16_t *)bench_ram(b, 0xc0000 + RING_USED + 2), 0);
	assert_false(virtio_get_status(&g.dev->v) & VIRTIO_STATUS_NEEDS_RESET);
}

static void ring_nowhere(void **state)
{
	static const uint32_t pfn[] = { BENCH_RAM >> 12, (BENCH_RAM >> 12) - 1, 0xfee00, 0xfffff, UINT32_MAX };

	(void)state;
	for (unsigned running = 0; running < 2; running++) {
		for (unsigned i = 0; i < ARRAY_SIZE(pfn); i++) {
			if (running)
				bring_up(false);
			else
				negotiate(0);
			set(VIRTIO_PCI_QUEUE_SEL, 0, 2);
			set(VIRTIO_PCI_QUEUE_PFN, pfn[i], 4);
			assert_int_equal(get(VIRTIO_PCI_QUEUE_PFN, 4), 0);
			assert_true(atomic_load(&g.dev->v.broken));
			assert_false(status() & VIRTIO_STATUS_NEEDS_RESET); /* a bit that it does not know */
			for (unsigned q = 0; q < QUEUES; q++)
				kick(q);
			bench_settle(b);
		}
	}
	bring_up(false);
	all_work();
}

/* One driver at a time: what the other interface says meanwhile does not count. */
static void modern_into_legacy(void **state)
{
	(void)state;
	bring_up(false);
	modern_features(g.dev->v.host_features);
	assert_false(modern_status() & VIRTIO_CONFIG_S_FEATURES_OK);
	bench_write(b, modern(VIRTIO_PCI_COMMON_Q_SELECT), 0, 2);
	bench_write(b, modern(VIRTIO_PCI_COMMON_Q_SIZE), 8, 2);
	bench_write(b, modern(VIRTIO_PCI_COMMON_Q_DESCLO), 0, 4);
	bench_write(b, modern(VIRTIO_PCI_COMMON_Q_ENABLE), 1, 2);
	assert_int_equal(get(VIRTIO_PCI_QUEUE_NUM, 2), QSIZE);
	assert_int_equal(get(VIRTIO_PCI_QUEUE_PFN, 4), queue_gpa(0) >> 12);
	all_work();
	/* A kick at the other place is a kick. */
	rings_post(&g.rings, 0, 3);
	bench_write(b, modern(VPCI_NOTIFY * VPCI_PART_SIZE), 0, 2);
	bench_settle(b);
	assert_int_equal(rings_used(&g.rings, 0), g.rings.avail[0]);
	bench_write(b, modern(VIRTIO_PCI_COMMON_STATUS), 0, 1);
	assert_int_equal(status(), 0);
	assert_false(bound());
	/* Started by a kick, so that the status says nothing of it. */
	negotiate(NO_EVENT_IDX);
	queues_setup();
	works(0);
	modern_features(g.dev->v.host_features);
	assert_false(modern_status() & VIRTIO_CONFIG_S_FEATURES_OK);
	all_work();
}

static void legacy_into_modern(void **state)
{
	uint64_t f;

	(void)state;
	modern_features(g.dev->v.host_features & ~(uint64_t)NO_EVENT_IDX);
	assert_true(modern_status() & VIRTIO_CONFIG_S_FEATURES_OK);
	f = g.dev->v.guest_features;
	set(VIRTIO_PCI_GUEST_FEATURES, 0, 4);
	set(VIRTIO_PCI_QUEUE_PFN, 0x10, 4);
	assert_int_equal(get(VIRTIO_PCI_QUEUE_PFN, 4), 0);
	kick(0);
	assert_int_equal(g.dev->starts, 0);
	set_status(STARTING | VIRTIO_CONFIG_S_DRIVER_OK);
	assert_int_equal(g.dev->starts, 1);
	assert_true(g.dev->v.guest_features == f);
	assert_false(g.dev->v.legacy);
	bring_up(false);
	all_work();
}

/* Every offset, every width, beside a driver that works; the register stands where the standard has it, and nowhere. */
static void sweep(void **state)
{
	static const struct {
		uint8_t off, size;
	} reg[] = { { 0, 4 }, { 4, 4 }, { 8, 4 }, { 12, 2 }, { 14, 2 }, { 16, 2 }, { 18, 1 }, { 19, 1 } };

	(void)state;
	bring_up(false);
	for (unsigned size = 1; size <= 8; size *= 2) {
		for (unsigned off = 0; off < 72; off++) {
			bool is_register = false;
			uint64_t before = refused();

			for (unsigned i = 0; i < ARRAY_SIZE(reg); i++)
				is_register |= reg[i].off == off && reg[i].size == size;
			if (is_register)
				continue;
			get(off, size);
			/* 8 is split in two, config space takes any that is aligned, and beyond the BAR is nothing. */
			if (size < 8 && off < 20)
				assert_int_equal(refused(), before + 1);
			if (size < 8)
				set(off, 0xa5a5a5a5, size);
		}
	}
	all_work();
	assert_int_equal(status(), STARTING | VIRTIO_CONFIG_S_DRIVER_OK);
}

/* Anything, anywhere, in any order: it survives, and a driver finds it as new. */
static void nonsense(void **state)
{
	uint32_t seed = 12345;

	(void)state;
	for (unsigned i = 0; i < 200000; i++) {
		unsigned off, size;

		seed = seed * 1664525 + 1013904223;
		off = seed >> 8 & 31;
		size = 1u << (seed >> 16 & 3) % 3;
		if (seed >> 31)
			get(off, size);
		else
			set(off, seed >> 20 & 1 ? seed >> 4 & 0x3f : seed * 31, size);
		if (i % 64 == 0)
			bench_settle(b);
	}
	memset(bench_ram(b, 0), 0, BENCH_RAM);
	cfg_write(b, g.p, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	bring_up(true);
	all_work();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(identity),
		cmocka_unit_test(work_in_all_forms),
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(config_moves),
		TEST(features),
		TEST(kicked_before_driver_ok),
		TEST(queues_one_by_one),
		TEST(kick_without_a_queue),
		TEST(bus_master),
		TEST(notify_on_empty),
		TEST(pin),
		TEST(vectors),
		TEST(doorbells),
		TEST(bar_moves),
		TEST(notify_out_of_range),
		TEST(select_out_of_range),
		TEST(ring_taken_away),
		TEST(ring_moved),
		TEST(ring_nowhere),
		TEST(modern_into_legacy),
		TEST(legacy_into_modern),
		TEST(sweep),
		TEST(nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
