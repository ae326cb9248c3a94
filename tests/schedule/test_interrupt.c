/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interrupts under the deterministic scheduler: wires that pins share, the ISR and its pin, a config change while the
 * driver resets the device, MSI-X vectors that are masked while they are raised. A lost interrupt is a deadlock here,
 * and the report names who waits. SCHED_SEEDS=N is how many interleavings of each scenario; SCHED_SEED=N runs just that
 * one.
 */
#ifndef VWIRE_SCHED
#define VWIRE_SCHED 1
#endif
/* The code under test, with its scheduling points. */
#include "object/irq_wire.c"
#include "pci/intx.c"
#include "pci/msix.c"
#include "virtio/device.c"
#include "virtio/virtio_pci.c"

#include "interleave.h"

#define SEEDS 100000
#define GSI   5

static struct {
	struct pci_bus bus;
	struct irq_chip irq;
	struct space *mem;
	int level;
	bool stall; /* who says "high" is held up behind it */
	unsigned highs;
	int fd;
} board;

static bool not_stalled(void *arg)
{
	(void)arg;
	return !board.stall;
}

/* One "high" at a time: only a "low" may be said out of turn. */
static void set_line(void *opaque, unsigned gsi, bool level)
{
	(void)opaque;
	EXPECT(gsi == GSI);
	EXPECT(!level || board.highs++ == 0);
	SCHED_POINT();
	board.level = level;
	SCHED_POINT();
	if (level && board.stall)
		sched_wait_for(not_stalled, NULL, "the scheduler lets who raised the line go on");
	board.highs -= level;
}

static int route_add(void *opaque, int *fd, struct error *err)
{
	(void)opaque, (void)err;
	*fd = board.fd = sys_eventfd();
	return 0;
}

static void route_del(void *opaque, int route)
{
	(void)opaque, (void)route;
	sys_close(board.fd);
}

static int route_set(void *opaque, int route, const struct msi_message *msg)
{
	(void)opaque, (void)route, (void)msg;
	SCHED_POINT();
	return 0;
}

static void board_init(void)
{
	memset(&board, 0, sizeof(board));
	board.irq = (struct irq_chip){ set_line, route_add, route_del, route_set, NULL };
	board.bus.host.irq = &board.irq;
}

static void device_init(struct pci_device *p)
{
	memset(p, 0, sizeof(*p));
	p->bus = &board.bus;
	p->intx_gsi = GSI;
	p->cap_end = PCI_STD_HEADER_SIZEOF;
	p->config_size = PCI_CONFIG_SIZE;
}

static bool line_is_high(void *arg)
{
	(void)arg;
	return board.level;
}

static unsigned threads_done, threads_all;

static bool all_done(void *arg)
{
	(void)arg;
	return threads_done == threads_all;
}

static void spawn(const char *name, void (*fn)(void *arg), void *arg)
{
	threads_all++;
	sched_spawn(name, fn, arg);
}

/* ---- a wire that two devices share ---- */

static struct pci_device pin[2];

static void toggler(void *arg)
{
	struct pci_device *p = arg;

	for (unsigned i = 0; i < 5; i++) {
		if (sched_random(4))
			pci_set_intx(p, sched_random(2));
		else
			pci_intx_gate(p, INTX_DISABLED, sched_random(2));
	}
	threads_done++;
}

static bool asserted(const struct pci_device *p)
{
	return atomic_load(&p->intx) == INTX_DRIVEN;
}

static void wire_main(void *arg)
{
	(void)arg;
	sched_wait_for(all_done, NULL, "all have toggled");
	EXPECT(board.level == (asserted(&pin[0]) || asserted(&pin[1])));
	EXPECT(atomic_load(&board.bus.line[GSI].work) == 0);
	for (unsigned i = 0; i < ARRAY_SIZE(pin); i++) {
		pci_intx_gate(&pin[i], INTX_DISABLED, false);
		pci_set_intx(&pin[i], false);
	}
	EXPECT(!board.level && atomic_load(&board.bus.line[GSI].pins) == 0);
}

static void wire(void)
{
	device_init(&pin[0]);
	device_init(&pin[1]);
	spawn("loop0", toggler, &pin[0]);
	spawn("vcpu0", toggler, &pin[0]);
	spawn("loop1", toggler, &pin[1]);
	sched_spawn("main", wire_main, NULL);
}

/* ---- who raised the wire does not come to run again: the vCPU that lowers its pin finds it low all the same ---- */

static void line_raiser(void *arg)
{
	pci_set_intx(arg, true);
	threads_done++;
}

static void lowerer(void *arg)
{
	sched_wait_for(line_is_high, NULL, "the interrupt line is high");
	pci_set_intx(arg, false);
	EXPECT(!board.level);
	if (sched_random(2))
		pci_set_intx(arg, true);
	board.stall = false;
	threads_done++;
}

static void stalled_main(void *arg)
{
	(void)arg;
	sched_wait_for(all_done, NULL, "both have driven the pin");
	EXPECT(board.level == asserted(&pin[0]));
	EXPECT(atomic_load(&board.bus.line[GSI].work) == 0);
	pci_set_intx(&pin[0], false);
	EXPECT(!board.level);
}

static void stalled(void)
{
	device_init(&pin[0]);
	board.stall = true;
	spawn("loop0", line_raiser, &pin[0]);
	spawn("vcpu0", lowerer, &pin[0]);
	sched_spawn("main", stalled_main, NULL);
}

/* ---- the ISR and its pin: a loop that calls, a guest that reads the ISR when the line is high ---- */

#define CALLS 4

static struct virtio_pci proxy;
static struct virtio_device vdev;
static unsigned work, seen;

static void caller(void *arg)
{
	struct virtq *q = arg;

	for (unsigned i = 0; i < CALLS; i++) {
		work++; /* the used index */
		SCHED_POINT();
		atomic_fetch_or(&vdev.isr, 1);
		queue_call(&proxy, q);
	}
	threads_done++;
}

static void isr_guest(void *arg)
{
	(void)arg;
	while (seen < 2 * CALLS) {
		sched_wait_for(line_is_high, NULL, "the interrupt line is high");
		isr_read(&proxy, 0, 1);
		SCHED_POINT();
		seen = work;
	}
	sched_wait_for(all_done, NULL, "all calls are made");
	EXPECT(board.level == (atomic_load(&vdev.isr) != 0));
	isr_read(&proxy, 0, 1);
	EXPECT(!board.level);
}

static void isr(void)
{
	static struct virtq q;

	memset(&proxy, 0, sizeof(proxy));
	memset(&vdev, 0, sizeof(vdev));
	work = seen = 0;
	device_init(&proxy.pci);
	proxy.vdev = &vdev;
	spawn("loop0", caller, &q);
	spawn("loop1", caller, &q); /* another queue, or a config change */
	sched_spawn("guest", isr_guest, NULL);
}

/*
 * ---- a config change comes from main while a vCPU resets the device: after the reset it is as if it had not been ----
 */

static struct virtio_device_class plain_class;
static struct loop *net;
static bool driver_resets;

static void net_loop(void *arg)
{
	loop_run(arg);
}

static bool loop_is_up(void *arg)
{
	return !loop_here(arg);
}

static void changer(void *arg)
{
	(void)arg;
	sched_wait_for(loop_is_up, net, "the loop runs");
	for (unsigned i = 0; i < 2; i++)
		virtio_config_changed(&vdev);
	threads_done++;
}

static void resetter(void *arg)
{
	(void)arg;
	sched_wait_for(loop_is_up, net, "the loop runs");
	if (driver_resets) {
		status_write(&proxy, 0);
		EXPECT(!board.level && !atomic_load(&vdev.isr) && !atomic_load(&vdev.status));
		for (unsigned i = 0; i < 10; i++) {
			SCHED_POINT();
			EXPECT(!board.level && !atomic_load(&vdev.isr));
		}
	}
	threads_done++;
}

static bool is_told(void *arg)
{
	(void)arg;
	return driver_resets || (board.level && atomic_load(&vdev.isr) == ISR_CONFIG);
}

static void config_main(void *arg)
{
	sched_wait_for(all_done, NULL, "change and reset are through");
	sched_wait_for(is_told, NULL, "the driver is told");
	loop_stop(net);
	sched_join(*(unsigned *)arg);
	EXPECT(atomic_load(&vdev.isr) == (driver_resets ? 0 : ISR_CONFIG) && board.level == !driver_resets);
	isr_read(&proxy, 0, 1); /* the line is low for the next one */
	loop_free(net);
}

static void config(void)
{
	static unsigned loop_thread;

	memset(&proxy, 0, sizeof(proxy));
	memset(&vdev, 0, sizeof(vdev));
	device_init(&proxy.pci);
	driver_resets = sched_random(4);
	net = loop_new("net0", NULL);
	EXPECT(net);
	proxy.vdev = &vdev;
	proxy.transport = (struct virtio_transport){ queue_call, config_changed, &proxy };
	vdev.dev.obj.class = &plain_class.dev.class;
	vdev.transport = &proxy.transport;
	vdev.loop = net;
	post_init(&vdev.config_post, on_config_post);
	atomic_store(&vdev.status, VIRTIO_CONFIG_S_DRIVER_OK);
	loop_thread = sched_spawn("net0", net_loop, net);
	spawn("main", changer, NULL);
	spawn("vcpu0", resetter, NULL);
	sched_spawn("test", config_main, &loop_thread);
}

/* ---- MSI-X: raised by two loops, masked and unmasked by a vCPU, handled by the guest ---- */

static struct pci_device msix_dev;
static unsigned long raised, handled;

static void table_set(unsigned word, uint32_t value)
{
	const struct region *r = msix_dev.bar[1].part[0].region;

	r->ops->write(r->opaque, 4 * word, value, 4);
}

static void function_mask(bool on)
{
	pci_set16(&msix_dev, msix_dev.msix->cap + PCI_MSIX_FLAGS,
		  on ? PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL : PCI_MSIX_FLAGS_ENABLE);
	msix_update(&msix_dev);
}

static void raiser(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < CALLS; i++) {
		work++;
		raised++;
		SCHED_POINT();
		msix_notify(&msix_dev, 0);
	}
	threads_done++;
}

/* Masked: not one signal more, until it unmasks. */
static void expect_silence(void)
{
	uint64_t n = handled + sched_eventfd_count(board.fd);

	for (unsigned i = 0; i < 3; i++) {
		SCHED_POINT();
		EXPECT(handled + sched_eventfd_count(board.fd) == n);
	}
}

static void masker(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 3; i++) {
		bool whole = sched_random(2);

		if (whole)
			function_mask(true);
		else
			table_set(ENTRY_CTRL, 1);
		expect_silence();
		if (sched_random(2))
			table_set(ENTRY_DATA, 0x40 + i);
		if (whole)
			function_mask(false);
		else
			table_set(ENTRY_CTRL, 0);
	}
	threads_done++;
}

static bool signalled(void *arg)
{
	(void)arg;
	return sched_eventfd_count(board.fd) > 0;
}

static void msix_guest(void *arg)
{
	(void)arg;
	while (seen < 2 * CALLS) {
		sched_wait_for(signalled, NULL, "a signal");
		handled += sched_eventfd_read(board.fd);
		seen = work;
		SCHED_POINT();
	}
	sched_wait_for(all_done, NULL, "all are done");
	EXPECT(handled + sched_eventfd_count(board.fd) <= raised);
	EXPECT(atomic_load(&msix_dev.msix->vector[0].state) == 0); /* nothing pending, nobody sending */
	msix_destroy(&msix_dev);
}

static void msix(void)
{
	struct error err;

	work = seen = 0;
	raised = handled = 0;
	device_init(&msix_dev);
	EXPECT(msix_init(&msix_dev, 1, 1, &err) == 0);
	atomic_store(&msix_dev.dma.on, true);
	function_mask(false);
	table_set(ENTRY_LOW, 0xfee00000);
	table_set(ENTRY_CTRL, 0);
	spawn("loop0", raiser, NULL);
	spawn("loop1", raiser, NULL);
	spawn("vcpu0", masker, NULL);
	sched_spawn("guest", msix_guest, NULL);
}

/* ---- all seeds ---- */

static void begin(void)
{
	board_init();
	threads_done = threads_all = 0;
}

#define SCENARIO(f)                                    \
	{                                              \
		.name = #f, .begin = begin, .start = f \
	}
static const struct sched_scenario scenarios[] = {
	SCENARIO(wire), SCENARIO(stalled), SCENARIO(isr), SCENARIO(config), SCENARIO(msix),
};

int main(void)
{
	sched_seeds(scenarios, ARRAY_SIZE(scenarios), SEEDS);
	return 0;
}
