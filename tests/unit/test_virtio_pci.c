/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The PCI transport of virtio, from the guest's side: a small driver sets up a virtio device that copies what it is
 * given from the readable to the writable part of each chain.
 */
#include "rings.h"

#include <dirent.h>
#include <errno.h>
#include <linux/virtio_pci.h>
#include <sched.h>
#include <unistd.h>

#include "virtio/virtio_pci.h"

#define NO_VECTOR 0xffff

static struct bench bench;
static struct bench *const b = &bench;

/* ---- the device, as a PCI function ---- */

static void copier_pci_class_init(struct class *class)
{
	struct virtio_pci_class *c = to_virtio_pci_class(class);

	c->child = "copier";
	c->pci.device = VIRTIO_PCI_DEVICE(42);
	c->pci.class_code = 0xff0000;
}

static const struct type type_copier_pci = {
	.name = "copier-pci",
	.parent = "virtio-pci",
	.class_init = copier_pci_class_init,
};

/* ---- the guest's driver ---- */

struct driver {
	struct pci_device *p;
	struct copier *dev;
	uint64_t common, isr, config, notify, msix;
	uint32_t mult;
	struct rings rings;
};

static struct driver g;

/* Offset of a virtio capability of a type in config space. */
static unsigned virtio_cap(uint8_t type)
{
	unsigned at = cfg_read(b, g.p, PCI_CAPABILITY_LIST, 1);

	for (; at; at = cfg_read(b, g.p, at + 1, 1))
		if (cfg_read(b, g.p, at, 1) == PCI_CAP_ID_VNDR && cfg_read(b, g.p, at + 3, 1) == type)
			return at;
	return 0;
}

static uint64_t structure(uint8_t type)
{
	unsigned cap = virtio_cap(type);

	assert_true(cap);
	return bench_bar(b, g.p, cfg_read(b, g.p, cap + 4, 1)) + cfg_read(b, g.p, cap + 8, 4);
}

static void find_structures(void)
{
	g.common = structure(VIRTIO_PCI_CAP_COMMON_CFG);
	g.isr = structure(VIRTIO_PCI_CAP_ISR_CFG);
	g.config = structure(VIRTIO_PCI_CAP_DEVICE_CFG);
	g.notify = structure(VIRTIO_PCI_CAP_NOTIFY_CFG);
	g.mult = cfg_read(b, g.p, virtio_cap(VIRTIO_PCI_CAP_NOTIFY_CFG) + 16, 4);
	g.msix = bench_bar(b, g.p, 1);
}

static void probe(struct pci_device *p)
{
	g = (struct driver){ .p = p, .dev = to_copier(to_virtio_pci(p)->vdev), .rings.b = b };
	find_structures();
	cfg_write(b, p, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
}

static uint32_t get(unsigned reg, unsigned size)
{
	return (uint32_t)bench_read(b, g.common + reg, size);
}

static void set(unsigned reg, uint32_t v, unsigned size)
{
	bench_write(b, g.common + reg, v, size);
}

static uint8_t status(void)
{
	return (uint8_t)get(VIRTIO_PCI_COMMON_STATUS, 1);
}

static void set_status(uint8_t v)
{
	set(VIRTIO_PCI_COMMON_STATUS, v, 1);
}

static void set_address(unsigned reg, uint64_t v)
{
	set(reg, (uint32_t)v, 4);
	set(reg + 4, (uint32_t)(v >> 32), 4);
}

static void queue_setup(unsigned q)
{
	rings_clear(&g.rings, q);
	set(VIRTIO_PCI_COMMON_Q_SELECT, q, 2);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_SIZE, 2), QSIZE);
	set_address(VIRTIO_PCI_COMMON_Q_DESCLO, queue_gpa(q));
	set_address(VIRTIO_PCI_COMMON_Q_AVAILLO, queue_gpa(q) + RING_AVAIL);
	set_address(VIRTIO_PCI_COMMON_Q_USEDLO, queue_gpa(q) + RING_USED);
	set(VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
}

static void negotiate(void)
{
	set_status(0);
	assert_int_equal(status(), 0);
	set_status(VIRTIO_CONFIG_S_ACKNOWLEDGE);
	set_status(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	for (unsigned word = 0; word < 2; word++) {
		set(VIRTIO_PCI_COMMON_DFSELECT, word, 4);
		set(VIRTIO_PCI_COMMON_GFSELECT, word, 4);
		/* all but the event index: calls are then by flags, one for each publication */
		set(VIRTIO_PCI_COMMON_GF, get(VIRTIO_PCI_COMMON_DF, 4) & ~(uint32_t)(word ? 0 : BIT(29)), 4);
	}
	set_status(status() | VIRTIO_CONFIG_S_FEATURES_OK);
	assert_true(status() & VIRTIO_CONFIG_S_FEATURES_OK);
}

static void driver_ok(void)
{
	set_status(status() | VIRTIO_CONFIG_S_DRIVER_OK);
	assert_true(status() & VIRTIO_CONFIG_S_DRIVER_OK);
}

static void msix_setup(void)
{
	cfg_write(b, g.p, bench_cap(b, g.p, PCI_CAP_ID_MSIX) + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, 2);
	for (unsigned v = 0; v < msix_vectors(g.p); v++) {
		bench_write(b, g.msix + 16 * v, 0xfee00000, 8);
		bench_write(b, g.msix + 16 * v + 8, 0x40 + v, 8);
	}
	set(VIRTIO_PCI_COMMON_MSIX, 0, 2);
	for (unsigned q = 0; q < QUEUES; q++) {
		set(VIRTIO_PCI_COMMON_Q_SELECT, q, 2);
		set(VIRTIO_PCI_COMMON_Q_MSIX, q + 1, 2);
		assert_int_equal(get(VIRTIO_PCI_COMMON_Q_MSIX, 2), q + 1);
	}
}

static void bring_up(bool msix)
{
	negotiate();
	if (msix)
		msix_setup();
	for (unsigned q = 0; q < QUEUES; q++)
		queue_setup(q);
	driver_ok();
}

static void kick(unsigned q)
{
	bench_write(b, g.notify + (uint64_t)q * g.mult, q, 2);
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

static const struct type *const types[] = { &type_virtio_device, &type_virtio_pci, &type_copier, &type_copier_pci,
					    NULL };

static void start(const char *text)
{
	bench_init(b, types, false);
	bench_add(text);
	bench_assign(b);
	probe(b->bus.slot[PCI_DEVFN(1, 0)]);
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

static int teardown_threaded(void **state)
{
	atomic_store(&b->bad_edges, 0);
	return teardown(state);
}

/* ---- what a driver finds ---- */

static void identity(void **state)
{
	static const uint8_t type[] = { VIRTIO_PCI_CAP_COMMON_CFG, VIRTIO_PCI_CAP_NOTIFY_CFG, VIRTIO_PCI_CAP_ISR_CFG,
					VIRTIO_PCI_CAP_DEVICE_CFG };

	(void)state;
	assert_int_equal(cfg_read(b, g.p, 0, 4), (0x1040 + 42) << 16 | 0x1af4);
	assert_int_equal(cfg_read(b, g.p, PCI_SUBSYSTEM_VENDOR_ID, 4), 0x11001af4);
	assert_int_equal(cfg_read(b, g.p, PCI_REVISION_ID, 1), 1);
	assert_int_equal(cfg_read(b, g.p, PCI_BASE_ADDRESS_4, 1) & 0xf, 0xc);
	assert_int_equal(g.p->bar[4].size, 16 * KIB);
	assert_int_equal(msix_vectors(g.p), QUEUES + 1);
	for (unsigned i = 0; i < ARRAY_SIZE(type); i++) {
		unsigned cap = virtio_cap(type[i]), off = cfg_read(b, g.p, cap + 8, 4);

		assert_int_equal(cfg_read(b, g.p, cap + 2, 1), type[i] == VIRTIO_PCI_CAP_NOTIFY_CFG ? 20 : 16);
		assert_int_equal(cfg_read(b, g.p, cap + 4, 1), 4);
		assert_int_equal(off % 4, 0);
		assert_true(off + cfg_read(b, g.p, cap + 12, 4) <= 16 * KIB);
	}
	assert_int_equal(g.mult, 4);
	assert_int_equal(get(VIRTIO_PCI_COMMON_NUMQ, 2), QUEUES);
	assert_int_equal(get(VIRTIO_PCI_COMMON_MSIX, 2), NO_VECTOR);
	for (unsigned q = 0; q < QUEUES; q++) {
		set(VIRTIO_PCI_COMMON_Q_SELECT, q, 2);
		assert_int_equal(get(VIRTIO_PCI_COMMON_Q_SIZE, 2), QSIZE);
		assert_int_equal(get(VIRTIO_PCI_COMMON_Q_MSIX, 2), NO_VECTOR);
		assert_int_equal(get(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
		assert_int_equal(get(VIRTIO_PCI_COMMON_Q_NOFF, 2), q);
		assert_int_equal(get(VIRTIO_PCI_COMMON_Q_RESET, 2), 0);
	}
	set(VIRTIO_PCI_COMMON_DFSELECT, 2, 4);
	assert_int_equal(get(VIRTIO_PCI_COMMON_DF, 4), 0);
	set(VIRTIO_PCI_COMMON_DFSELECT, 1, 4);
	assert_true(get(VIRTIO_PCI_COMMON_DF, 4) & 1); /* VERSION_1 */
}

static void work_in_all_forms(void **state)
{
	static const char *const form[] = { "copier-pci",
					    "copier-pci,ioeventfd=off",
					    "copier-pci,page-per-vq=on",
					    "copier-pci,page-per-vq=on,ioeventfd=off",
					    "copier-pci,vectors=0",
					    "copier-pci,vectors=2,ats=off,aer=off,indirect_desc=off" };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(form); i++) {
		start(form[i]);
		assert_int_equal(g.mult, strstr(form[i], "page") ? 4096 : 4);
		for (unsigned round = 0; round < 3; round++) {
			bring_up(false);
			all_work();
			all_work();
		}
		bench_destroy(b);
	}
}

/* Fewer vectors than queues: a driver lets them share, and what there is none of reads back as none. */
static void shared_vectors(void **state)
{
	static const char *const form[] = { "copier-pci,vectors=2", "copier-pci,vectors=1,x-pcie-flr-init=off" };

	(void)state;
	for (unsigned n = 2; n >= 1; n--) {
		start(form[2 - n]);
		assert_int_equal(msix_vectors(g.p), n);
		negotiate();
		cfg_write(b, g.p, bench_cap(b, g.p, PCI_CAP_ID_MSIX) + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, 2);
		for (unsigned v = 0; v < n; v++) {
			bench_write(b, g.msix + 16 * v, 0xfee00000, 8);
			bench_write(b, g.msix + 16 * v + 8, 0x40 + v, 8);
		}
		for (unsigned q = 0; q < QUEUES; q++) {
			queue_setup(q);
			set(VIRTIO_PCI_COMMON_Q_MSIX, n, 2);
			assert_int_equal(get(VIRTIO_PCI_COMMON_Q_MSIX, 2), NO_VECTOR);
			set(VIRTIO_PCI_COMMON_Q_MSIX, n - 1, 2);
			assert_int_equal(get(VIRTIO_PCI_COMMON_Q_MSIX, 2), n - 1);
		}
		driver_ok();
		all_work();
		assert_int_equal(bench_signals(b, n - 1), QUEUES);
		bench_destroy(b);
	}
}

static unsigned open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void refused_options(void **state)
{
	unsigned fds = open_fds();

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		assert_non_null(strstr(bench_add_fails("copier-pci,ats=on"), "ats=on"));
		assert_non_null(strstr(bench_add_fails("copier-pci,aer=on"), "aer=on"));
		assert_non_null(strstr(bench_add_fails("copier-pci,modern-pio-notify=on"), "modern-pio-notify=on"));
		assert_non_null(strstr(bench_add_fails("copier-pci,vectors=2049"), "vectors"));
		assert_non_null(strstr(bench_add_fails("copier-pci,rejects=on"), "rejects=on"));
		assert_non_null(strstr(bench_add_fails("copier-pci,addr=1"), "in use"));
		bench_add_fails("copier-pci,nonsense=1");
		bench_add_fails("copier");
		bench_add_fails("virtio-pci");
	}
	assert_int_equal(open_fds(), fds);
	bring_up(true);
	all_work();
}

/* ---- registers ---- */

/* Of an enabled queue, or of any once the driver runs; queue 0 is enabled. */
static void registers_stay(unsigned q)
{
	static const unsigned reg32[] = { VIRTIO_PCI_COMMON_Q_DESCLO,  VIRTIO_PCI_COMMON_Q_DESCHI,
					  VIRTIO_PCI_COMMON_Q_AVAILLO, VIRTIO_PCI_COMMON_Q_AVAILHI,
					  VIRTIO_PCI_COMMON_Q_USEDLO,  VIRTIO_PCI_COMMON_Q_USEDHI };

	set(VIRTIO_PCI_COMMON_Q_SELECT, q, 2);
	for (unsigned i = 0; i < ARRAY_SIZE(reg32); i++) {
		uint32_t old = get(reg32[i], 4);

		set(reg32[i], 0xdeadbee0, 4);
		assert_int_equal(get(reg32[i], 4), old);
	}
	set(VIRTIO_PCI_COMMON_Q_SIZE, 3, 2);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_SIZE, 2), QSIZE);
	set(VIRTIO_PCI_COMMON_Q_ENABLE, q == 0 ? 0 : 1, 2);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_ENABLE, 2), q == 0);
	/* a driver may set the vector after enabling, but not once it runs */
	set(VIRTIO_PCI_COMMON_Q_MSIX, 3, 2);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_MSIX, 2), q == 0 ? 3 : q + 1);
}

/* A reset opens all again, with nothing left of before. */
static void nothing_is_left(void)
{
	set_status(0);
	set(VIRTIO_PCI_COMMON_Q_SELECT, 0, 2);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_DESCLO, 4), 0);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_MSIX, 2), NO_VECTOR);
	assert_int_equal(get(VIRTIO_PCI_COMMON_MSIX, 2), NO_VECTOR);
	assert_int_equal(get(VIRTIO_PCI_COMMON_GF, 4), 0);
}

static void frozen(void **state)
{
	(void)state;
	negotiate();
	msix_setup();
	queue_setup(0); /* 1 and 2 stay off */
	for (unsigned live = 0; live < 2; live++) {
		for (unsigned q = 0; q < (live ? QUEUES : 1); q++)
			registers_stay(q);
		if (!live)
			driver_ok();
	}
	set(VIRTIO_PCI_COMMON_Q_SELECT, 0, 2);
	set(VIRTIO_PCI_COMMON_Q_MSIX, 1, 2);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_MSIX, 2), 3);
	works(0);
	rings_post(&g.rings, 1, 5);
	kick(1); /* not enabled: nobody listens */
	bench_settle(b);
	assert_int_equal(rings_used(&g.rings, 1), 0);
	/* features are frozen too */
	set(VIRTIO_PCI_COMMON_GFSELECT, 0, 4);
	set(VIRTIO_PCI_COMMON_GF, 0, 4);
	assert_int_not_equal(get(VIRTIO_PCI_COMMON_GF, 4), 0);
	nothing_is_left();
	bring_up(true);
	all_work();
}

static void bad_sizes(void **state)
{
	static const uint16_t size[] = { 0, 3, 63, 128, 0x8000, 0xffff };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(size); i++) {
		negotiate();
		set(VIRTIO_PCI_COMMON_Q_SELECT, 0, 2);
		set(VIRTIO_PCI_COMMON_Q_SIZE, size[i], 2);
		set_address(VIRTIO_PCI_COMMON_Q_DESCLO, 0x1000);
		set_address(VIRTIO_PCI_COMMON_Q_AVAILLO, 0x10000);
		set_address(VIRTIO_PCI_COMMON_Q_USEDLO, 0x20000);
		set(VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
		assert_int_equal(get(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
		assert_true(status() & VIRTIO_STATUS_NEEDS_RESET);
		kick(0);
		bench_settle(b);
	}
	bring_up(false);
	all_work();
}

static void select_out_of_range(void **state)
{
	static const uint16_t select[] = { QUEUES, QUEUES + 1, 0x7fff, 0x8000, 0xffff };

	(void)state;
	negotiate();
	for (unsigned i = 0; i < ARRAY_SIZE(select); i++) {
		set(VIRTIO_PCI_COMMON_Q_SELECT, select[i], 2);
		assert_int_equal(get(VIRTIO_PCI_COMMON_Q_SELECT, 2), select[i]);
		for (unsigned reg = VIRTIO_PCI_COMMON_Q_SIZE; reg < 64; reg += 2) {
			set(reg, 1, 2);
			assert_int_equal(get(reg, 2), 0);
		}
		for (unsigned reg = VIRTIO_PCI_COMMON_Q_DESCLO; reg < 56; reg += 4) {
			set(reg, ~0u, 4);
			assert_int_equal(get(reg, 4), 0);
		}
	}
	bring_up(false);
	all_work();
}

static void status_rules(void **state)
{
	(void)state;
	set_status(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_DRIVER_OK);
	assert_false(status() & VIRTIO_CONFIG_S_DRIVER_OK);
	set(VIRTIO_PCI_COMMON_GFSELECT, 0, 4);
	set(VIRTIO_PCI_COMMON_GF, ~0u, 4); /* bits that were not offered, and no VERSION_1 */
	set_status(status() | VIRTIO_CONFIG_S_FEATURES_OK);
	assert_false(status() & VIRTIO_CONFIG_S_FEATURES_OK);
	bring_up(false);
	all_work();
	assert_int_equal(g.dev->starts, 1);
	driver_ok();
	assert_int_equal(g.dev->starts, 1);
	set_status(0);
	set_status(0);
	assert_int_equal(g.dev->stops, 1);
}

/* Reads at a width that is no field's are 0, writes are lost; both are counted. */
static void wrong_widths(void **state)
{
	uint64_t refused = counter_get(&to_virtio_pci(g.p)->part[VPCI_COMMON].refused);

	(void)state;
	set(VIRTIO_PCI_COMMON_DFSELECT, 1, 4);
	assert_int_equal(get(VIRTIO_PCI_COMMON_DFSELECT, 1), 0);
	assert_int_equal(get(VIRTIO_PCI_COMMON_DFSELECT, 2), 0);
	set(VIRTIO_PCI_COMMON_DFSELECT, 0, 2);
	set(VIRTIO_PCI_COMMON_STATUS, 1, 2);
	set(VIRTIO_PCI_COMMON_Q_SELECT, 0x0101, 4);
	assert_int_equal(get(VIRTIO_PCI_COMMON_DFSELECT, 4), 1);
	assert_int_equal(status(), 0);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_SELECT, 2), 0);
	assert_true(counter_get(&to_virtio_pci(g.p)->part[VPCI_COMMON].refused) > refused + 4);
	/* 64-bit fields also whole: the halves follow one another */
	bench_write(b, g.common + VIRTIO_PCI_COMMON_Q_DESCLO, 0x123456789a0, 8);
	assert_true(bench_read(b, g.common + VIRTIO_PCI_COMMON_Q_DESCLO, 8) == 0x123456789a0);
}

static void device_config(void **state)
{
	(void)state;
	for (unsigned i = 0; i < CONFIG_LEN; i++)
		g.dev->config[i] = (uint8_t)(i + 1);
	assert_true(bench_read(b, g.config, 8) == 0x0807060504030201);
	assert_int_equal(bench_read(b, g.config + 6, 2), 0x0807);
	assert_int_equal(bench_read(b, g.config + 12, 4), 13); /* beyond the end: 0 */
	assert_int_equal(bench_read(b, g.config + 16, 4), 0);
	assert_int_equal(bench_read(b, g.config + 0xffc, 4), 0);
	bench_write(b, g.config + 12, 0xaabbccdd, 4);
	assert_int_equal(g.dev->config[12], 0xdd);
	bench_write(b, g.config + 16, 0xaabbccdd, 4);
	bench_write(b, g.config + 8, 0x99, 1);
	assert_int_equal(g.dev->config[8], 0x99);

	uint8_t generation = (uint8_t)get(VIRTIO_PCI_COMMON_CFGGENERATION, 1);

	virtio_config_changed(&g.dev->v);
	assert_int_not_equal(get(VIRTIO_PCI_COMMON_CFGGENERATION, 1), generation);
}

/* Every offset and size of the whole BAR and some way behind it, while fresh and while running. */
static void sweep(uint64_t pattern)
{
	uint64_t base = g.common;

	for (unsigned size = 1; size <= 8; size *= 2) {
		for (unsigned off = 0; off < 16 * KIB + 64; off++) {
			bench_read(b, base + off, size);
			bench_write(b, base + off, pattern ^ off, size);
			bench_read(b, base + off, size);
		}
		bench_settle(b);
	}
	for (unsigned off = 64; off < VPCI_PART_SIZE; off++)
		assert_int_equal(get(off, 1), 0);
}

static void register_sweep(void **state)
{
	static const uint64_t pattern[] = {
		0, UINT64_MAX, 0x0101010101010101, 0x0f0f0f0f0f0f0f0f, 0x4000400040004000, 0x0000004000000040
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(pattern); i++) {
		sweep(pattern[i]);
		bring_up(i % 2);
		all_work();
		sweep(pattern[i]);
		bring_up(i % 2);
		all_work();
	}
	set_status(0);
}

/* ---- doorbells ---- */

static void notify_rules(void **state)
{
	(void)state;
	bring_up(false);
	for (unsigned q = QUEUES; q < 1024; q++)
		bench_write(b, g.notify + q * 4, q, 2);
	for (unsigned size = 1; size <= 8; size *= 2) /* the address says which queue, not the value */
		bench_write(b, g.notify, 0xffff, size);
	assert_int_equal(bench_read(b, g.notify, 4), 0);
	bench_settle(b);
	all_work();
	set_status(0);
	rings_post(&g.rings, 0, 1);
	kick(0); /* before it is enabled */
	bench_settle(b);
	assert_int_equal(rings_used(&g.rings, 0), g.rings.used[0]);
	bring_up(false);
	all_work();
}

/* An accelerator that takes doorbells, as KVM does. */
struct bells {
	unsigned n, binds, unbinds;
	struct {
		uint64_t addr;
		int fd;
	} v[64];
};

static int bell_bind(void *opaque, bool pio, uint64_t addr, const struct doorbell *d)
{
	struct bells *s = opaque;

	assert_false(pio);
	assert_false(d->match);
	assert_int_equal(d->width, 0);
	s->v[s->n].addr = addr;
	s->v[s->n++].fd = d->fd;
	s->binds++;
	return 0;
}

static void bell_unbind(void *opaque, bool pio, uint64_t addr, const struct doorbell *d)
{
	struct bells *s = opaque;

	(void)pio;
	for (unsigned i = 0; i < s->n; i++) {
		if (s->v[i].addr != addr || s->v[i].fd != d->fd)
			continue;
		s->v[i] = s->v[--s->n];
		s->unbinds++;
		return;
	}
	bench_fail("unbound what was not bound");
}

static const struct doorbell_ops bell_ops = { bell_bind, bell_unbind };

static bool bell_bound(const struct bells *s, unsigned q)
{
	for (unsigned i = 0; i < s->n; i++)
		if (s->v[i].addr == g.notify + q * g.mult)
			return s->v[i].fd == g.dev->v.queue[q].kick_fd;
	return false;
}

static void move_registers(uint64_t to)
{
	cfg_write(b, g.p, PCI_BASE_ADDRESS_4, (uint32_t)to, 4);
	cfg_write(b, g.p, PCI_BASE_ADDRESS_5, (uint32_t)(to >> 32), 4);
	find_structures();
}

static void doorbells(void **state)
{
	struct bells s = { 0 };
	uint64_t old;

	(void)state;
	space_set_doorbell_ops(b->mem, &bell_ops, &s);
	cfg_write(b, g.p, PCI_COMMAND, PCI_COMMAND_MASTER, 2); /* what a guest does when it sizes */
	cfg_write(b, g.p, PCI_COMMAND, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY, 2);
	assert_int_equal(s.binds, 0);
	bring_up(true);
	assert_int_equal(s.n, QUEUES);
	for (unsigned q = 0; q < QUEUES; q++)
		assert_true(bell_bound(&s, q));
	bring_up(true); /* reset and again: they stay */
	assert_int_equal(s.binds, QUEUES);
	assert_int_equal(s.unbinds, 0);

	old = g.notify;
	move_registers(0x3000000000);
	assert_int_not_equal(old, g.notify);
	assert_int_equal(s.n, QUEUES);
	for (unsigned q = 0; q < QUEUES; q++)
		assert_true(bell_bound(&s, q));
	all_work();
	cfg_write(b, g.p, PCI_COMMAND, PCI_COMMAND_MASTER, 2);
	assert_int_equal(s.n, 0);
	cfg_write(b, g.p, PCI_COMMAND, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY, 2);
	assert_int_equal(s.n, QUEUES);
	device_del(&g.p->dev);
	assert_int_equal(s.n, 0);
	space_set_doorbell_ops(b->mem, NULL, NULL);
}

static void bar_moves_while_running(void **state)
{
	uint64_t old;

	(void)state;
	bring_up(true);
	all_work();
	old = g.notify;
	rings_post(&g.rings, 0, 77);
	move_registers(0x2000000000);
	bench_write(b, old, 0, 2);
	bench_settle(b); /* the resume looks at the ring: what was posted before is not lost, whoever kicks */
	assert_int_equal(rings_take(&g.rings, 0), 77);
	assert_int_equal(bench_read(b, old, 4), UINT32_MAX);
	rings_post(&g.rings, 0, 78);
	bench_write(b, old, 0, 2);
	bench_settle(b);
	assert_int_equal(rings_used(&g.rings, 0), g.rings.used[0]); /* the old address is dead */
	kick(0);
	bench_settle(b);
	assert_int_equal(rings_take(&g.rings, 0), 78);
	all_work();
	assert_int_equal(status() & VIRTIO_STATUS_NEEDS_RESET, 0);
}

/*
 * VT19: on RAM (on its own rings), on the local APIC. DMA goes to RAM and nowhere else all the same. The board's own
 * wins.
 */
static void bar_on_other_things(void **state)
{
	static const uint64_t places[] = { 0x10000, 0xfee00000, 0xfffc0000, 0x2000000000 };

	(void)state;
	bring_up(true);
	all_work();
	for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
		move_registers(places[i]);
		all_work();
		assert_int_equal(status() & VIRTIO_STATUS_NEEDS_RESET, 0);
		bring_up(true);
		all_work();
		move_registers(BENCH_ECAM);
		assert_int_equal(cfg_read(b, g.p, PCI_VENDOR_ID, 2), 0x1af4);
		assert_int_equal(bench_read(b, BENCH_ECAM, 4), 0x00081b36); /* the bridge, and no register of ours */
	}
}

/* ---- bus mastering ---- */

static void bus_master(void **state)
{
	(void)state;
	cfg_write(b, g.p, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	bring_up(true); /* with mastering off: the queues wait */
	rings_post(&g.rings, 0, 1);
	kick(0);
	bench_settle(b);
	assert_int_equal(rings_used(&g.rings, 0), 0);
	assert_false(status() & VIRTIO_STATUS_NEEDS_RESET);
	cfg_write(b, g.p, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	bench_settle(b);
	assert_int_equal(rings_take(&g.rings, 0), 1);
	all_work();
	cfg_write(b, g.p, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	rings_post(&g.rings, 1, 2);
	kick(1);
	bench_settle(b);
	assert_int_equal(rings_used(&g.rings, 1), g.rings.used[1]);
	move_registers(0x2000000000); /* a move must not start it */
	bench_settle(b);
	assert_int_equal(rings_used(&g.rings, 1), g.rings.used[1]);
	/* a reset meanwhile */
	cfg_write(b, g.p, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	bench_settle(b);
	assert_int_equal(rings_take(&g.rings, 1), 2);
	all_work();
	cfg_write(b, g.p, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	set_status(0);
	cfg_write(b, g.p, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	bench_settle(b);
	bring_up(true);
	all_work();
}

/* ---- interrupts ---- */

static void vectors(void **state)
{
	static const uint16_t bad[] = { QUEUES + 1, QUEUES + 2, 0x7ff, 0x8000, 0xfffe, 0xffff };

	(void)state;
	negotiate();
	msix_setup();
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		set(VIRTIO_PCI_COMMON_MSIX, 0, 2);
		set(VIRTIO_PCI_COMMON_MSIX, bad[i], 2);
		assert_int_equal(get(VIRTIO_PCI_COMMON_MSIX, 2), NO_VECTOR);
		set(VIRTIO_PCI_COMMON_Q_SELECT, 2, 2);
		set(VIRTIO_PCI_COMMON_Q_MSIX, 0, 2);
		set(VIRTIO_PCI_COMMON_Q_MSIX, bad[i], 2);
		assert_int_equal(get(VIRTIO_PCI_COMMON_Q_MSIX, 2), NO_VECTOR);
	}
	for (unsigned q = 0; q < QUEUES; q++)
		queue_setup(q);
	driver_ok();
	for (unsigned r = 0; r < atomic_load(&b->routes); r++)
		bench_signals(b, r);
	works(0);
	assert_int_equal(bench_signals(b, 1), 1);
	works(1);
	assert_int_equal(bench_signals(b, 2), 1);
	works(2); /* no vector: no signal */
	virtio_config_changed(&g.dev->v);
	for (unsigned r = 0; r < atomic_load(&b->routes); r++)
		assert_int_equal(bench_signals(b, r), 0);
	set(VIRTIO_PCI_COMMON_MSIX, 3, 2); /* the config vector may change at any time */
	virtio_config_changed(&g.dev->v);
	assert_int_equal(bench_signals(b, 3), 1);
	assert_int_equal(atomic_load(&b->level[g.p->intx_gsi]), 0);
}

static int line(void)
{
	return atomic_load(&b->level[g.p->intx_gsi]);
}

static void isr_and_intx(void **state)
{
	(void)state;
	bring_up(false);
	bench_settle(b);
	bench_read(b, g.isr, 1);
	assert_int_equal(line(), 0);
	works(0);
	assert_int_equal(line(), 1);
	assert_int_equal(bench_read(b, g.isr, 1), 1);
	assert_int_equal(line(), 0);
	assert_int_equal(bench_read(b, g.isr, 1), 0);
	virtio_config_changed(&g.dev->v);
	assert_int_equal(line(), 1);
	works(1);
	bench_write(b, g.isr, 0, 1); /* read-only */
	assert_int_equal(bench_read(b, g.isr + 1, 1), 0);
	assert_int_equal(line(), 1);
	assert_int_equal(bench_read(b, g.isr, 1), 3);
	assert_int_equal(line(), 0);
	works(2);
	set_status(0);
	assert_int_equal(line(), 0);
	assert_int_equal(bench_read(b, g.isr, 1), 0);
	/* a device that breaks says so */
	bring_up(false);
	((uint16_t *)bench_ram(b, queue_gpa(0) + RING_AVAIL))[1] = 0x8000;
	kick(0);
	bench_settle(b);
	assert_true(status() & VIRTIO_STATUS_NEEDS_RESET);
	assert_true(bench_read(b, g.isr, 1) & 2);
}

/* Two devices on one line, one guest handler for both. */
static void intx_shared(void **state)
{
	struct driver first, second;
	struct pci_device *q = bench_add("copier-pci,addr=5");
	struct pci_device *other = bench_add("test-pci,addr=9");

	(void)state;
	bench_assign(b);
	bring_up(false);
	bench_settle(b);
	bench_read(b, g.isr, 1);
	works(0);
	first = g;
	probe(q);
	assert_int_equal(g.p->intx_gsi, first.p->intx_gsi);
	assert_int_equal(other->intx_gsi, first.p->intx_gsi);
	bring_up(false); /* its rings lie where the first one's were: that one posts nothing more */
	bench_settle(b);
	bench_read(b, g.isr, 1);
	assert_int_equal(line(), 1); /* the first one still wants service */
	works(0);
	second = g;
	bench_read(b, first.isr, 1);
	assert_int_equal(line(), 1);
	bench_read(b, second.isr, 1);
	assert_int_equal(line(), 0);
	pci_set_intx(other, true);
	works(1);
	assert_int_equal(bench_read(b, second.isr, 1), 1);
	assert_int_equal(line(), 1);
	pci_set_intx(other, false);
	assert_int_equal(line(), 0);
}

/* ---- the configuration access capability ---- */

static void window_set(uint8_t bar, uint32_t off, uint32_t len)
{
	unsigned cap = virtio_cap(VIRTIO_PCI_CAP_PCI_CFG);

	cfg_write(b, g.p, cap + 4, bar, 1);
	cfg_write(b, g.p, cap + 8, off, 4);
	cfg_write(b, g.p, cap + 12, len, 4);
}

static uint32_t window_read(void)
{
	return cfg_read(b, g.p, virtio_cap(VIRTIO_PCI_CAP_PCI_CFG) + 16, 4);
}

static void window_write(uint32_t v)
{
	cfg_write(b, g.p, virtio_cap(VIRTIO_PCI_CAP_PCI_CFG) + 16, v, 4);
}

static void config_window(void **state)
{
	static const struct {
		uint8_t bar;
		uint32_t off, len;
	} bad[] = {
		{ 0, 0, 4 },	  { 1, 0, 4 },	    { 5, 0, 4 },	  { 6, 0, 4 },		{ 255, 0, 4 },
		{ 4, 0, 0 },	  { 4, 0, 3 },	    { 4, 0, 8 },	  { 4, 0, UINT32_MAX }, { 4, 2, 4 },
		{ 4, 0x4000, 4 }, { 4, 0x3ffe, 4 }, { 4, UINT32_MAX, 1 }, { 4, 0xfffffffc, 4 }, { 4, 1, 2 },
	};

	(void)state;
	set(VIRTIO_PCI_COMMON_DFSELECT, 0x5555, 4);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		window_set(bad[i].bar, bad[i].off, bad[i].len);
		window_write(0x1234);
		assert_int_equal(window_read(), 0);
	}
	assert_int_equal(get(VIRTIO_PCI_COMMON_DFSELECT, 4), 0x5555);
	memset(g.dev->config, 0x77, CONFIG_LEN);
	window_set(4, VPCI_DEVICE * VPCI_PART_SIZE + 1, 2); /* not aligned */
	window_write(0x1234);
	assert_int_equal(window_read(), 0);
	assert_int_equal(g.dev->config[1], 0x77);
	window_set(4, VPCI_DEVICE * VPCI_PART_SIZE + 2, 2);
	assert_int_equal(window_read(), 0x7777);
}

/* A whole driver, also with decoding off. */
static void driver_in_a_window(void **state)
{
	(void)state;
	cfg_write(b, g.p, PCI_COMMAND, PCI_COMMAND_MASTER, 2);
	window_set(4, VIRTIO_PCI_COMMON_NUMQ, 2);
	assert_int_equal(window_read(), QUEUES);
	window_set(4, VIRTIO_PCI_COMMON_DFSELECT, 4);
	window_write(1);
	assert_int_equal(window_read(), 1);
	window_set(4, VIRTIO_PCI_COMMON_STATUS, 1);
	window_write(0xff03); /* its first byte only */
	assert_int_equal(window_read(), 3);
	cfg_write(b, g.p, PCI_COMMAND, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY, 2);
	assert_int_equal(status(), 3);
	bring_up(false);
	rings_post(&g.rings, 1, 99);
	window_set(4, VPCI_NOTIFY * VPCI_PART_SIZE + 4, 2);
	window_write(1);
	bench_settle(b);
	assert_int_equal(rings_take(&g.rings, 1), 99);
	window_set(4, VPCI_ISR * VPCI_PART_SIZE, 1);
	assert_int_equal(window_read(), 1);
	assert_int_equal(line(), 0);
	window_set(4, VIRTIO_PCI_COMMON_STATUS, 1);
	window_write(0);
	assert_int_equal(status(), 0);
	device_reset(&g.p->dev);
	assert_int_equal(cfg_read(b, g.p, virtio_cap(VIRTIO_PCI_CAP_PCI_CFG) + 12, 4), 0);
}

/* ---- threads ---- */

static int setup_threaded(void **state)
{
	(void)state;
	bench_init(b, types, true);
	bench_add("copier-pci,addr=1");
	bench_add("copier-pci,addr=5");
	bench_add("copier-pci,addr=2,ioeventfd=off");
	bench_assign(b);
	probe(b->bus.slot[PCI_DEVFN(1, 0)]);
	return 0;
}

static void wait_used(unsigned q, uint16_t idx)
{
	for (unsigned i = 0; i < 20000 && rings_used(&g.rings, q) != idx; i++)
		usleep(100);
	assert_int_equal(rings_used(&g.rings, q), idx);
	g.rings.used[q] = idx;
}

/*
 * A guest with INTx: it sleeps until the line is high, reads the ISR, takes what is used, and goes on. If an interrupt
 * were lost (ISR set or chains used, line low), it would sleep for ever.
 */
static void intx_under_traffic(void **state)
{
	uint16_t n = 0;

	(void)state;
	bring_up(false);
	for (unsigned round = 0; round < 3000; round++) {
		unsigned batch = 1 + round % 5;

		for (unsigned i = 0; i < batch; i++) {
			rings_post(&g.rings, 0, round);
			kick(0);
		}
		n = (uint16_t)(n + batch);
		while (rings_used(&g.rings, 0) != n) {
			unsigned spins = 0;

			while (!line())
				if (++spins > 1000)
					usleep(10), assert_true(spins < 1000000);
			bench_read(b, g.isr, 1);
		}
		bench_read(b, g.isr, 1);
	}
	set_status(0);
	assert_int_equal(line(), 0);
}

/* After the write of 0 to the status has returned, not one byte of guest memory changes because of older work. */
static void reset_under_traffic(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 300; round++) {
		uint8_t *ram = bench_ram(b, 0);

		bring_up(round % 2);
		for (unsigned i = 0; i < 30; i++) {
			rings_post(&g.rings, i % QUEUES, i);
			kick(i % QUEUES);
		}
		if (round % 3 == 0)
			cfg_write(b, g.p, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
		else
			set_status(0);
		memset(ram, 0xa5, BENCH_RAM);
		if (round % 16 == 0)
			usleep(2000);
		for (unsigned i = 0; i < 30; i++)
			kick(i % QUEUES);
		for (unsigned i = 0; i < BENCH_RAM; i++)
			if (ram[i] != 0xa5)
				assert_int_equal(ram[i], 0xa5);
		set_status(0);
		cfg_write(b, g.p, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	}
	bring_up(true);
	rings_post(&g.rings, 0, 5);
	kick(0);
	wait_used(0, 1);
}

struct storm {
	_Atomic bool stop;
	_Atomic unsigned rounds;
};

/* Where a BAR of one of the devices may be: few places, so that they often lie upon each other. */
static uint64_t storm_place(uint32_t r)
{
	return 0x2000000000 + (r % 6) * 16 * KIB;
}

static void storm_config(struct bench_vcpu *v, unsigned devfn)
{
	uint32_t r = bench_random(v);

	switch (r % 6) {
	case 0:
		pci_config_write(&b->bus, devfn, PCI_BASE_ADDRESS_4, 4, (uint32_t)storm_place(r >> 8));
		break;
	case 1:
		pci_config_write(&b->bus, devfn, PCI_BASE_ADDRESS_5, 4, 0x20);
		break;
	case 2:
		pci_config_write(&b->bus, devfn, PCI_COMMAND, 2, r >> 16);
		break;
	case 3:
		pci_config_write(&b->bus, devfn, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
		break;
	case 4: /* the window, and MSI-X on and off */
		pci_config_write(&b->bus, devfn, 0x40 + (r >> 8) % 0x90, 1 << (r >> 16) % 3, bench_random(v));
		break;
	default:
		pci_config_read(&b->bus, devfn, (r >> 8) % 256, 1 << (r >> 16) % 3);
	}
}

/* What a driver writes, in any order. */
static void storm_register(struct bench_vcpu *v)
{
	static const uint8_t states[] = { 0, 1, 3, 11, 15, 15, 15 };
	uint32_t r = bench_random(v);
	uint64_t base = storm_place(r), value;
	unsigned q = (r >> 4) % QUEUES;

	switch ((r >> 8) % 8) {
	case 0:
		space_write(b->mem, base + VIRTIO_PCI_COMMON_STATUS, 1, states[(r >> 16) % ARRAY_SIZE(states)]);
		break;
	case 1:
		space_write(b->mem, base + VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
		space_write(b->mem, base + VIRTIO_PCI_COMMON_GF, 4, 1);
		break;
	case 2:
	case 3:
		space_write(b->mem, base + VIRTIO_PCI_COMMON_Q_SELECT, 2, q);
		space_write(b->mem, base + VIRTIO_PCI_COMMON_Q_DESCLO, 4, queue_gpa(q));
		space_write(b->mem, base + VIRTIO_PCI_COMMON_Q_AVAILLO, 4, queue_gpa(q) + RING_AVAIL);
		space_write(b->mem, base + VIRTIO_PCI_COMMON_Q_USEDLO, 4, queue_gpa(q) + RING_USED);
		space_write(b->mem, base + VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
		break;
	case 4:
		space_write(b->mem, base + (r >> 12) % 64, 1 << (r >> 28) % 4, bench_random(v));
		break;
	case 5:
		space_read(b->mem, base + VPCI_ISR * VPCI_PART_SIZE, 1, &value);
		break;
	default:
		space_write(b->mem, base + VPCI_NOTIFY * VPCI_PART_SIZE + q * 4, 2, q);
	}
}

static void storm(struct bench_vcpu *v)
{
	static const uint8_t slots[] = { 1, 5, 2 };
	struct storm *s = v->arg;

	while (!atomic_load(&s->stop)) {
		uint32_t r = bench_random(v);

		epoch_enter(&v->reader);
		if (r % 4 == 0)
			storm_config(v, PCI_DEVFN(slots[(r >> 8) % ARRAY_SIZE(slots)], 0));
		else
			storm_register(v);
		epoch_leave(&v->reader);
		atomic_fetch_add(&s->rounds, 1);
	}
}

/* 8 vCPUs that move BARs, reset, start and kick, while main resets devices and unplugs one. Then all is as new. */
static void storm_of_vcpus(void **state)
{
	static const uint8_t slots[] = { 1, 5, 2 };
	struct storm s = { 0 };
	struct bench_vcpu v[8];

	(void)state;
	bench_vcpus_start(v, 8, storm, &s);
	for (unsigned i = 0; i < 400; i++) {
		struct pci_device *p = b->bus.slot[PCI_DEVFN(slots[i % 2], 0)];

		while (atomic_load(&s.rounds) < i * 50)
			sched_yield(); /* let the vCPUs do their part */
		if (i % 20 == 7) {
			device_del(&b->bus.slot[PCI_DEVFN(2, 0)]->dev);
			bench_add("copier-pci,addr=2,ioeventfd=off");
		} else {
			device_reset(&p->dev);
		}
	}
	atomic_store(&s.stop, true);
	bench_vcpus_join(v, 8);
	for (unsigned i = 0; i < ARRAY_SIZE(slots); i++)
		device_reset(&b->bus.slot[PCI_DEVFN(slots[i], 0)]->dev);
	bench_assign(b);
	for (unsigned i = 0; i < ARRAY_SIZE(slots); i++) {
		probe(b->bus.slot[PCI_DEVFN(slots[i], 0)]);
		bring_up(true);
		for (unsigned q = 0; q < QUEUES; q++) {
			rings_post(&g.rings, q, q);
			kick(q);
			wait_used(q, 1);
		}
		set_status(0);
	}
}

/* 4.1.4.3: a queue is reset by its register, set up anew and enabled, with its vector, while the device runs. */
static void queue_reset(void **state)
{
	(void)state;
	bring_up(true);
	for (unsigned round = 1; round <= 3; round++) {
		rings_post(&g.rings, 1, round);
		kick(1);
		bench_settle(b);
		assert_int_equal(rings_take(&g.rings, 1), round);
		set(VIRTIO_PCI_COMMON_Q_SELECT, 1, 2);
		set(VIRTIO_PCI_COMMON_Q_RESET, 2, 2); /* nothing but 1 resets */
		set(VIRTIO_PCI_COMMON_Q_RESET, 0, 2);
		assert_int_equal(get(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
		set(VIRTIO_PCI_COMMON_Q_RESET, 1, 2);
		assert_int_equal(get(VIRTIO_PCI_COMMON_Q_RESET, 2), 0);
		assert_int_equal(get(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
		assert_int_equal(get(VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
		assert_int_equal(get(VIRTIO_PCI_COMMON_Q_DESCLO, 4), 0);
		rings_post(&g.rings, 1, 99);
		kick(1);
		bench_settle(b);
		assert_int_equal(rings_used(&g.rings, 1), 1);
		set(VIRTIO_PCI_COMMON_Q_MSIX, 2, 2);
		assert_int_equal(get(VIRTIO_PCI_COMMON_Q_MSIX, 2), 2);
		queue_setup(1);
		set(VIRTIO_PCI_COMMON_Q_MSIX, 3, 2); /* frozen again */
		assert_int_equal(get(VIRTIO_PCI_COMMON_Q_MSIX, 2), 2);
		rings_post(&g.rings, 0, round); /* the other one has noticed nothing */
		kick(0);
		bench_settle(b);
		assert_int_equal(rings_take(&g.rings, 0), round);
	}
}

/* A kick may be of any width: with NOTIFICATION_DATA it has 4 bytes (4.1.5.2). */
static void wide_kicks(void **state)
{
	(void)state;
	for (unsigned size = 1; size <= 8; size *= 2) {
		bring_up(false);
		rings_post(&g.rings, 1, size);
		bench_write(b, g.notify + g.mult, 0x80050001, size);
		bench_settle(b);
		assert_int_equal(rings_take(&g.rings, 1), size);
	}
}

int main(void)
{
#define T(fn)  cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define TT(fn) cmocka_unit_test_setup_teardown(fn, setup_threaded, teardown_threaded)
	const struct CMUnitTest tests[] = {
		T(identity),
		cmocka_unit_test(work_in_all_forms),
		cmocka_unit_test(shared_vectors),
		T(refused_options),
		T(frozen),
		T(bad_sizes),
		T(select_out_of_range),
		T(status_rules),
		T(wrong_widths),
		T(device_config),
		T(register_sweep),
		T(notify_rules),
		T(doorbells),
		T(bar_moves_while_running),
		T(bar_on_other_things),
		T(bus_master),
		T(vectors),
		T(isr_and_intx),
		T(intx_shared),
		T(config_window),
		T(driver_in_a_window),
		T(queue_reset),
		T(wide_kicks),
		TT(intx_under_traffic),
		TT(reset_under_traffic),
		TT(storm_of_vcpus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
