/* SPDX-License-Identifier: BSD-2-Clause */
/* A PCI bus for tests: see pcibench.h. */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "pcibench.h"

/* ---- the interrupt chip ---- */

static void set_line(void *opaque, unsigned gsi, bool level)
{
	struct bench *b = opaque;

	if (atomic_exchange(&b->busy[gsi], 1) || atomic_exchange(&b->level[gsi], level) == level)
		atomic_fetch_add(&b->bad_edges, 1);
	atomic_fetch_add(&b->edges, 1);
	atomic_store(&b->busy[gsi], 0);
}

static int route_add(void *opaque, int *fd, struct error *err)
{
	struct bench *b = opaque;
	unsigned n = atomic_load(&b->routes);

	if ((int)n >= atomic_load(&b->route_limit))
		return fail(err, ENOSPC, "no more routes");
	b->route_fd[n] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_true(b->route_fd[n] >= 0);
	atomic_fetch_add(&b->routes, 1);
	*fd = b->route_fd[n];
	return (int)n;
}

static void route_del(void *opaque, int route)
{
	struct bench *b = opaque;

	close(b->route_fd[route]);
	b->route_fd[route] = -1;
}

/* As KVM does: what is not for a local APIC is no interrupt. */
static int route_set(void *opaque, int route, const struct msi_message *msg)
{
	struct bench *b = opaque;

	atomic_fetch_add(&b->route_sets, 1);
	if (msg && (msg->address < 0xfee00000 || msg->address > 0xfeefffff))
		return -EINVAL;
	b->route_msg[route] = msg ? *msg : (struct msi_message){ 0 };
	return 0;
}

uint64_t bench_signals(struct bench *b, unsigned route)
{
	uint64_t n = 0;

	return read(b->route_fd[route], &n, sizeof(n)) == sizeof(n) ? n : 0;
}

/* ---- the test device ---- */

static uint64_t word_read(void *opaque, uint64_t off, unsigned size)
{
	struct test_pci *t = opaque;

	(void)off, (void)size;
	if (!atomic_load(&t->realized))
		atomic_fetch_add(&t->stray, 1);
	return t->word;
}

static void word_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	struct test_pci *t = opaque;

	(void)off, (void)size;
	if (!atomic_load(&t->realized))
		atomic_fetch_add(&t->stray, 1);
	t->word = (uint32_t)value;
}

static const struct region_ops word_ops = { .read = word_read, .write = word_write, .min = 4, .max = 4 };

static struct test_pci *to_test_pci(struct pci_device *p)
{
	return container_of(p, struct test_pci, pci);
}

static void add_region(struct test_pci *t, struct region *r, const char *name, unsigned bar, uint64_t size,
		       uint8_t flags)
{
	*r = (struct region){
		.name = name,
		.size = size,
		.ops = &word_ops,
		.opaque = t,
		.policy = REGION_DEVICE,
		.lock = &t->pci.dev.lock,
	};
	pci_bar_init(&t->pci, bar, size, flags);
	pci_bar_add(&t->pci, bar, r, 0);
}

static int test_pci_realize(struct pci_device *p, struct error *err)
{
	struct test_pci *t = to_test_pci(p);

	p->config[PCI_INTERRUPT_PIN] = 1;
	add_region(t, &t->mem, "test.mem", 0, 4096, 0);
	add_region(t, &t->io, "test.io", 2, 64, PCI_BASE_ADDRESS_SPACE_IO);
	add_region(t, &t->wide, "test.wide", 4, 16 * KIB, PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH);
	if (pci_add_pm(p) < 0)
		return fail(err, ENOSPC, "no room for PM");
	atomic_store(&t->realized, true);
	return t->vectors ? msix_init(p, t->vectors, 1, err) : 0;
}

static void test_pci_unrealize(struct pci_device *p)
{
	atomic_store(&to_test_pci(p)->realized, false);
}

static void test_pci_reset(struct pci_device *p)
{
	to_test_pci(p)->resets++;
	to_test_pci(p)->word = 0;
}

static void test_pci_quiesce(struct pci_device *p)
{
	struct test_pci *t = to_test_pci(p);

	t->quiesces++;
	t->quiet = true;
	t->dma_in_quiesce = atomic_load(&p->dma.on);
}

static void test_pci_resume(struct pci_device *p)
{
	struct test_pci *t = to_test_pci(p);

	t->resumes++;
	t->quiet = false;
	t->dma_in_resume = atomic_load(&p->dma.on);
}

static void test_pci_class_init(struct class *class)
{
	struct pci_class *c = container_of(class, struct pci_class, dev.class);

	c->vendor = 0x1234;
	c->device = 0x5678;
	c->subsystem_vendor = 0x4321;
	c->subsystem = 0x8765;
	c->revision = 7;
	c->class_code = 0xff0000;
	c->realize = test_pci_realize;
	c->unrealize = test_pci_unrealize;
	c->reset = test_pci_reset;
	c->quiesce = test_pci_quiesce;
	c->resume = test_pci_resume;
}

static const struct opt test_pci_props[] = {
	OPT_F(struct test_pci, vectors, "vectors", OPT_UINT, .def = "4", .help = "MSI-X vectors"),
	OPT_END,
};

const struct type type_test_pci = {
	.name = "test-pci",
	.parent = "pci-device",
	.instance_size = sizeof(struct test_pci),
	.class_init = test_pci_class_init,
	.props = test_pci_props,
};

/* ---- the board ---- */

static unsigned intx_gsi(unsigned slot, unsigned pin)
{
	return 16 + (slot + pin) % 4;
}

static struct loop *place(void *arg)
{
	return arg;
}

static void types_for_test(const struct type *const *more)
{
	static const struct type *all[32] = { &type_object, &type_device, &type_pci_device, &type_pci_host_bridge,
					      &type_test_pci };
	struct error err;
	unsigned n = 5;

	while (more && *more)
		all[n++] = *more++;
	all[n] = NULL;
	if (types_init(all, &err) < 0)
		bench_fail(err.msg);
}

void bench_init(struct bench *b, const struct type *const *types, bool threaded)
{
	struct ram_block block = { .gpa = 0, .size = BENCH_RAM };
	struct error err;

	memset(b, 0, sizeof(*b));
	log_init("test", LOG_ERR);
	types_for_test(types);
	b->mem = space_new("memory", 1ull << 46, false);
	b->io = space_new("io", 65536, true);
	assert_int_equal(ram_init(&b->ram, &block, 1, RAM_PRIVATE, &err), 0);
	b->loop = loop_new("test", &err);
	assert_non_null(b->loop);
	if (threaded)
		assert_int_equal(loop_start_thread(b->loop, &err), 0);
	atomic_store(&b->route_limit, BENCH_ROUTES);
	b->irq = (struct irq_chip){ set_line, route_add, route_del, route_set, b };

	struct pci_host host = {
		.mem = b->mem,
		.io = b->io,
		.ram = &b->ram,
		.irq = &b->irq,
		.main_loop = b->loop,
		.place = place,
		.place_arg = b->loop,
		.intx_gsi = intx_gsi,
	};
	assert_int_equal(pci_bus_init(&b->bus, "pci.0", &host, &err), 0);
	pci_host_ports_init(&b->bus, &b->address, &b->data);
	pci_ecam_init(&b->bus, &b->ecam);
	assert_int_equal(space_map(b->io, &b->address, 0xcf8, 2), 0);
	assert_int_equal(space_map(b->io, &b->data, 0xcfc, 2), 0);
	assert_int_equal(space_map(b->mem, &b->ecam, BENCH_ECAM, 2), 0);
}

void bench_destroy(struct bench *b)
{
	pci_bus_deinit(&b->bus);
	space_unmap(b->io, &b->address);
	space_unmap(b->io, &b->data);
	space_unmap(b->mem, &b->ecam);
	loop_free(b->loop);
	space_free(b->mem);
	space_free(b->io);
	ram_destroy(&b->ram);
	for (unsigned i = 0; i < atomic_load(&b->routes); i++)
		assert_int_equal(b->route_fd[i], -1);
	assert_int_equal(atomic_load(&b->bad_edges), 0);
	for (unsigned i = 0; i < PCI_LINES; i++)
		assert_int_equal(atomic_load(&b->level[i]), 0);
}

static struct device *add(const char *text, struct error *err)
{
	struct opt_list l;
	struct device *d;

	assert_int_equal(opt_list_parse(text, "driver", &l, err), 0);
	d = device_add(&l, err);
	opt_list_free(&l);
	return d;
}

struct pci_device *bench_add(const char *text)
{
	struct error err;
	struct device *d = add(text, &err);

	if (!d)
		bench_fail(err.msg);
	return to_pci_device(d);
}

const char *bench_add_fails(const char *text)
{
	static struct error err;

	assert_null(add(text, &err));
	return err.msg;
}

void bench_assign(struct bench *b)
{
	struct pci_windows w = {
		.io = BENCH_IO,
		.io_end = 0x10000,
		.mem32 = BENCH_MEM32,
		.mem32_end = BENCH_MEM32 + 64 * MIB,
		.mem64 = BENCH_MEM64,
		.mem64_end = BENCH_MEM64 + GIB,
	};
	struct error err;

	if (pci_assign(&b->bus, &w, &err) < 0)
		bench_fail(err.msg);
}

/* ---- what a guest does ---- */

void bench_settle(struct bench *b)
{
	while (loop_turn(b->loop))
		;
}

void *bench_ram(struct bench *b, uint64_t gpa)
{
	return ram_ptr(&b->ram, gpa, 1);
}

uint64_t bench_read(struct bench *b, uint64_t addr, unsigned size)
{
	uint64_t v = 0;

	space_read(b->mem, addr, size, &v);
	return v;
}

void bench_write(struct bench *b, uint64_t addr, uint64_t value, unsigned size)
{
	space_write(b->mem, addr, size, value);
}

static uint64_t ecam_address(const struct pci_device *p, unsigned off)
{
	return BENCH_ECAM + ((uint64_t)p->devfn << 12) + off;
}

uint32_t cfg_read(struct bench *b, const struct pci_device *p, unsigned off, unsigned size)
{
	return (uint32_t)bench_read(b, ecam_address(p, off), size);
}

void cfg_write(struct bench *b, const struct pci_device *p, unsigned off, uint32_t value, unsigned size)
{
	bench_write(b, ecam_address(p, off), value, size);
}

uint64_t bench_bar(struct bench *b, const struct pci_device *p, unsigned n)
{
	uint64_t v = cfg_read(b, p, PCI_BASE_ADDRESS_0 + 4 * n, 4);

	if (v & PCI_BASE_ADDRESS_SPACE_IO)
		return v & PCI_BASE_ADDRESS_IO_MASK;
	if (v & PCI_BASE_ADDRESS_MEM_TYPE_64)
		v |= (uint64_t)cfg_read(b, p, PCI_BASE_ADDRESS_0 + 4 * n + 4, 4) << 32;
	return v & PCI_BASE_ADDRESS_MEM_MASK;
}

unsigned bench_cap(struct bench *b, const struct pci_device *p, uint8_t id)
{
	unsigned at = cfg_read(b, p, PCI_CAPABILITY_LIST, 1);

	for (unsigned i = 0; at && i < 48; i++) {
		if (cfg_read(b, p, at, 1) == id)
			return at;
		at = cfg_read(b, p, at + 1, 1);
	}
	return 0;
}

/* ---- threads ---- */

static void *vcpu_run(void *arg)
{
	struct bench_vcpu *v = arg;

	epoch_register(&v->reader);
	v->fn(v);
	epoch_unregister(&v->reader);
	return NULL;
}

void bench_vcpus_start(struct bench_vcpu *v, unsigned n, void (*fn)(struct bench_vcpu *v), void *arg)
{
	for (unsigned i = 0; i < n; i++) {
		v[i] = (struct bench_vcpu){ .fn = fn, .arg = arg, .index = i, .seed = i * 2654435761u + 1 };
		assert_int_equal(pthread_create(&v[i].thread, NULL, vcpu_run, &v[i]), 0);
	}
}

void bench_vcpus_join(struct bench_vcpu *v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		pthread_join(v[i].thread, NULL);
}

uint32_t bench_random(struct bench_vcpu *v)
{
	v->seed ^= v->seed << 13;
	v->seed ^= v->seed >> 17;
	v->seed ^= v->seed << 5;
	return v->seed;
}
