/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The board put together, and its run states. Requests are bits that any thread sets; the main loop takes them all at
 * once, the ones that end the VM first. Whatever it does to a running VM it does between stop_vm() and run_vm().
 */
#include "machine/machine.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "char/terminal.h"
#include "machine/acpi.h"
#include "machine/acpi_pm.h"
#include "machine/boot.h"
#include "machine/pvpanic.h"
#include "machine/reset_ports.h"
#include "machine/rtc.h"
#include "machine/serial.h"
#include "virtio/virtio_mmio.h"

/* Above BARs: where the guest puts those, it still reaches config space and the ways to reset. */
#define BOARD_PRIORITY 2

/* Requests that only the board itself makes, behind those of the header. */
enum {
	REQUEST_POWEROFF = MACHINE_CRASH + 1, /* the guest wrote S5 */
	REQUEST_PANIC,
	REQUESTS,
};

enum run_state {
	PRELAUNCH,
	RUNNING,
	PAUSED,
	SHUTDOWN,
	INTERNAL_ERROR,
	GUEST_PANICKED
};

struct machine {
	struct machine_config cfg; /* its strings are the caller's */
	struct loop *loop;
	struct ram ram;
	struct space *mem, *io;
	struct accel *accel;
	bool board_up; /* buses and devices of the board exist */

	struct pci_bus pci;
	struct virtio_mmio *mmio[MMIO_SLOTS];
	struct pci_windows windows;
	struct region pci_data, ecam;
	struct reset_ports reset_ports;
	struct pvpanic pvpanic;
	struct acpi_pm pm;
	struct rtc rtc;
	struct chardev *chr[MACHINE_SERIALS]; /* until the port takes it */
	struct serial serial[MACHINE_SERIALS];
	unsigned serials; /* bit mask of those that exist */

	struct boot boot;
	struct boot_cpu entry;

	_Atomic int state;
	_Atomic uint32_t requests;
	const char *_Atomic why[REQUESTS];
	struct post post;
	void (*on_exit)(void *arg, int status);
	void *on_exit_arg;
};

/* ---- requests ---- */

static void request(struct machine *m, unsigned r, const char *why)
{
	atomic_store(&m->why[r], why);
	atomic_fetch_or(&m->requests, (uint32_t)BIT(r));
	loop_post(m->loop, &m->post);
}

void machine_request(struct machine *m, enum machine_request r, const char *why)
{
	request(m, r, why);
}

/*
 * By a guest's write, on the vCPU that made it. Behind it that one executes nothing: what a kernel does there is meant
 * for machines on which the write did not work, and Linux goes on to try a triple fault.
 */
static void guest_request(struct machine *m, unsigned r, const char *why)
{
	request(m, r, why);
	if (m->accel->cpu_hold)
		m->accel->cpu_hold(m->accel);
}

static void guest_reset(void *opaque)
{
	guest_request(opaque, MACHINE_RESET, "guest reset");
}

static void guest_poweroff(void *opaque)
{
	guest_request(opaque, REQUEST_POWEROFF, "guest poweroff");
}

static void guest_panicked(void *opaque)
{
	guest_request(opaque, REQUEST_PANIC, "guest panicked");
}

static void user_quit(void *opaque)
{
	request(opaque, MACHINE_SHUTDOWN, "ended at the terminal");
}

/* ---- run states ---- */

static void each_device(struct machine *m, bool stop)
{
	for (size_t i = 0; i < ARRAY_SIZE(m->pci.slot); i++) {
		struct pci_device *p = m->pci.slot[i];
		void (*fn)(struct pci_device * p);

		if (!p)
			continue;
		fn = stop ? pci_class(p)->quiesce : pci_class(p)->resume;
		if (!fn)
			continue;
		mutex_lock(&p->dev.lock);
		fn(p);
		mutex_unlock(&p->dev.lock);
	}
	for (unsigned i = 0; i < MMIO_SLOTS; i++)
		virtio_mmio_stop(m->mmio[i], stop);
}

static void run_vm(struct machine *m)
{
	if (m->state == RUNNING)
		return;
	m->state = RUNNING;
	rtc_sync(&m->rtc);
	vm_clock_run(true);
	each_device(m, false);
	m->accel->resume(m->accel);
}

static void stop_vm(struct machine *m, enum run_state state)
{
	if (m->state == RUNNING) {
		m->accel->pause(m->accel);
		each_device(m, true);
		vm_clock_run(false);
	}
	m->state = state;
}

static void end(struct machine *m, int status)
{
	stop_vm(m, SHUTDOWN);
	if (m->on_exit)
		m->on_exit(m->on_exit_arg, status);
	else
		loop_stop(m->loop);
}

/* ---- reset ---- */

static void reset_one(struct device *d, void *arg)
{
	(void)arg;
	device_reset(d);
}

static void reset_board(struct machine *m)
{
	device_each(reset_one, NULL);
	for (unsigned i = 0; i < MACHINE_SERIALS; i++)
		if (m->serials & BIT(i))
			serial_reset(&m->serial[i]);
	rtc_reset(&m->rtc);
	acpi_pm_reset(&m->pm);
	reset_ports_reset(&m->reset_ports);
}

static unsigned mmio_in_use(const struct machine *m)
{
	unsigned mask = 0;

	for (unsigned i = 0; i < MMIO_SLOTS; i++)
		mask |= m->mmio[i] && m->mmio[i]->vdev ? (unsigned)BIT(i) : 0;
	return mask;
}

/* What firmware would have done when the kernel starts. */
static int firmware(struct machine *m, struct error *err)
{
	struct acpi_config acpi = {
		.cpus = m->cfg.cpus, .serials = m->serials, .windows = m->windows, .mmio = mmio_in_use(m)
	};
	int r = pci_assign(&m->pci, &m->windows, err);

	if (r < 0)
		return r;
	if (!acpi_build(&acpi, ram_ptr(&m->ram, ACPI_BASE, ACPI_SIZE), ACPI_BASE, ACPI_SIZE))
		return fail(err, ENOSPC, "the ACPI tables do not fit into %llu KiB", ACPI_SIZE / KIB);
	return m->accel->cpus_reset(m->accel, m->cfg.kernel ? &m->entry : NULL, err);
}

static void reset_vm(struct machine *m)
{
	bool was_running = m->state == RUNNING;
	struct error err;
	int r = 0;

	stop_vm(m, m->state == PRELAUNCH ? PRELAUNCH : PAUSED);
	/* Whoever asked for one until now, another vCPU perhaps, gets this one. */
	atomic_fetch_and(&m->requests, ~(uint32_t)BIT(MACHINE_RESET));
	reset_board(m);
	if (m->cfg.kernel)
		r = boot_load(&m->boot, &m->ram, false, &m->entry, &err);
	if (r == 0)
		r = firmware(m, &err);
	if (r < 0) {
		log_err("cannot start again: %s", err.msg);
		end(m, 1);
		return;
	}
	if (was_running)
		run_vm(m);
}

/* ---- carrying requests out: main loop ---- */

/* The guest cannot go on. */
static void crashed(struct machine *m, enum run_state state, const char *why)
{
	log_err("the guest cannot go on: %s", why);
	if (m->cfg.no_shutdown)
		stop_vm(m, state);
	else
		end(m, 1);
}

static void carry_out(struct machine *m, unsigned r, const char *why)
{
	switch (r) {
	case MACHINE_CRASH:
		crashed(m, INTERNAL_ERROR, why);
		break;
	case REQUEST_PANIC:
		crashed(m, GUEST_PANICKED, why);
		break;
	case MACHINE_SHUTDOWN:
		log_info("%s", why);
		end(m, 0);
		break;
	case REQUEST_POWEROFF:
		if (m->cfg.no_shutdown)
			stop_vm(m, SHUTDOWN);
		else
			end(m, 0);
		break;
	case MACHINE_RESET:
		if (m->cfg.no_reboot)
			end(m, 0);
		else
			reset_vm(m);
		break;
	case MACHINE_POWERDOWN:
		acpi_pm_power_button(&m->pm);
		break;
	case MACHINE_PAUSE:
		if (m->state == RUNNING)
			stop_vm(m, PAUSED);
		break;
	case MACHINE_RESUME:
		/* From the other states only a reset leads on. */
		if (m->state == PAUSED || m->state == PRELAUNCH)
			run_vm(m);
		break;
	}
}

static void on_request(struct post *p)
{
	/* What ends the VM comes first. */
	static const uint8_t order[REQUESTS] = { MACHINE_SHUTDOWN, MACHINE_CRASH, REQUEST_PANIC,     REQUEST_POWEROFF,
						 MACHINE_RESET,	   MACHINE_PAUSE, MACHINE_POWERDOWN, MACHINE_RESUME };
	struct machine *m = container_of(p, struct machine, post);
	uint32_t requests = atomic_exchange(&m->requests, 0);

	if (!m->board_up)
		return;
	for (unsigned i = 0; i < REQUESTS; i++) {
		if (!(requests & BIT(order[i])))
			continue;
		carry_out(m, order[i], atomic_load(&m->why[order[i]]));
		if (i < 4) /* the end, or stopped: nothing that was asked before counts any more */
			return;
	}
}

void machine_on_exit(struct machine *m, void (*fn)(void *arg, int status), void *arg)
{
	m->on_exit = fn;
	m->on_exit_arg = arg;
}

bool machine_running(const struct machine *m)
{
	return m->state == RUNNING;
}

const char *machine_state_name(const struct machine *m)
{
	static const char *const names[] = {
		[PRELAUNCH] = "prelaunch",
		[RUNNING] = "running",
		[PAUSED] = "paused",
		[SHUTDOWN] = "shutdown",
		[INTERNAL_ERROR] = "internal-error",
		[GUEST_PANICKED] = "guest-panicked",
	};

	return names[m->state];
}

/* ---- making it ---- */

static int make_memory(struct machine *m, struct error *err)
{
	struct ram_block blocks[2];
	unsigned n;
	int r;

	if (m->cfg.ram_size < MACHINE_RAM_MIN || m->cfg.ram_size % 4096)
		return fail(err, EINVAL, "-m: %llu bytes; at least %lluM, and a multiple of 4096, are needed",
			    (unsigned long long)m->cfg.ram_size, MACHINE_RAM_MIN / MIB);
	r = memmap_windows(m->cfg.ram_size, &m->windows, err);
	if (r < 0)
		return r;
	n = memmap_blocks(m->cfg.ram_size, blocks);
	r = ram_init(&m->ram, blocks, n, RAM_PRIVATE, err);
	if (r < 0)
		return r;
	m->mem = space_new("memory", BIT(52), false);
	m->io = space_new("io", 0x10000, true);
	if (!m->mem || !m->io)
		return fail(err, ENOMEM, "out of memory");
	return 0;
}

int machine_load(struct machine *m, struct error *err)
{
	int r;

	if (!m->cfg.kernel)
		return 0;
	r = boot_open(&m->boot, m->cfg.kernel, m->cfg.initrd, m->cfg.append, err);
	if (r == 0)
		r = boot_load(&m->boot, &m->ram, true, &m->entry, err);
	return r;
}

/* May wait for a connection. */
static int open_serials(struct machine *m, struct error *err)
{
	for (unsigned i = 0; i < MACHINE_SERIALS; i++) {
		const char *spec = m->cfg.serial[i];
		int r;

		if (!spec || strcmp(spec, "none") == 0)
			continue;
		r = chardev_open("-serial", spec, &m->chr[i], err);
		if (r < 0)
			return r;
		m->serials |= (unsigned)BIT(i);
	}
	return 0;
}

struct machine *machine_new(const struct machine_config *cfg, struct loop *main_loop, struct error *err)
{
	struct machine *m = calloc(1, sizeof(*m));

	if (!m) {
		fail(err, ENOMEM, "out of memory");
		return NULL;
	}
	m->cfg = *cfg;
	m->loop = main_loop;
	m->boot.kernel.fd = m->boot.initrd.fd = -1;
	post_init(&m->post, on_request);
	if (make_memory(m, err) < 0 || open_serials(m, err) < 0) {
		machine_free(m);
		return NULL;
	}
	return m;
}

struct accel_env machine_accel_env(struct machine *m)
{
	return (struct accel_env){
		.machine = m,
		.cpus = m->cfg.cpus,
		.cpu_model = m->cfg.cpu_model,
		.ram = &m->ram,
		.mem = m->mem,
		.io = m->io,
		.level_gsis = level_gsis(),
	};
}

void machine_set_accel(struct machine *m, struct accel *a)
{
	m->accel = a;
	space_set_doorbell_ops(m->mem, a->bells, a->opaque);
	space_set_doorbell_ops(m->io, a->bells, a->opaque);
}

static int map_all(struct machine *m)
{
	struct {
		struct space *space;
		struct region *region;
		uint64_t base;
	} places[] = {
		{ m->mem, &m->ecam, ECAM_BASE },
		{ m->io, &m->reset_ports.config_address, PORT_PCI_CONFIG },
		{ m->io, &m->pci_data, PORT_PCI_CONFIG + 4 },
		{ m->io, &m->reset_ports.i8042, PORT_I8042 },
		{ m->io, &m->reset_ports.a20, PORT_A20 },
		{ m->io, &m->rtc.region, PORT_RTC },
		{ m->io, &m->pvpanic.region, PORT_PVPANIC },
		{ m->io, &m->pm.region, PORT_PM },
	};
	int r = 0;

	space_begin(m->io);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(places); i++)
		r = space_map(places[i].space, places[i].region, places[i].base, BOARD_PRIORITY);
	for (unsigned i = 0; r == 0 && i < MACHINE_SERIALS; i++)
		if (m->serials & BIT(i))
			r = space_map(m->io, &m->serial[i].region, serial_places[i].port, BOARD_PRIORITY);
	space_commit(m->io);
	return r;
}

static void make_devices(struct machine *m)
{
	const struct irq_chip *irq = m->accel->irq;

	reset_ports_init(&m->reset_ports, guest_reset, m);
	pci_host_ports_init(&m->pci, &m->reset_ports.pci_address, &m->pci_data);
	pci_ecam_init(&m->pci, &m->ecam);
	pvpanic_init(&m->pvpanic, guest_panicked, m);
	acpi_pm_init(&m->pm, m->loop, irq, GSI_SCI, PORT_PM_SIZE);
	acpi_pm_on_poweroff(&m->pm, guest_poweroff, m);
	rtc_init(&m->rtc, m->loop, irq, GSI_RTC, m->ram.block[0].size, m->ram.n > 1 ? m->ram.block[1].size : 0);
	for (unsigned i = 0; i < MACHINE_SERIALS; i++) {
		if (!(m->serials & BIT(i)))
			continue;
		serial_init(&m->serial[i], irq, serial_places[i].gsi, m->chr[i]);
		m->chr[i] = NULL;
	}
}

/* The guest sees none of them before a device is on it. */
static int make_transports(struct machine *m, struct loop *(*place)(void *arg), void *arg, struct error *err)
{
	struct virtio_mmio_place at = {
		.mem = m->mem,
		.priority = BOARD_PRIORITY,
		.irq = m->accel->irq,
		.ram = &m->ram,
		.main_loop = m->loop,
		.place = place,
		.place_arg = arg,
	};

	for (unsigned i = 0; i < MMIO_SLOTS; i++) {
		at.index = i;
		at.base = MMIO_BASE + i * VIRTIO_MMIO_SIZE;
		at.gsi = mmio_gsis[i];
		m->mmio[i] = virtio_mmio_new(&at, m->cfg.globals, m->cfg.globals_arg, err);
		if (!m->mmio[i])
			return -ENOMEM;
	}
	return 0;
}

int machine_init_buses(struct machine *m, struct loop *(*place)(void *arg), void *arg, struct error *err)
{
	struct pci_host host = {
		.mem = m->mem,
		.io = m->io,
		.ram = &m->ram,
		.irq = m->accel->irq,
		.main_loop = m->loop,
		.place = place,
		.place_arg = arg,
		.intx_gsi = intx_gsi,
	};
	int r = pci_bus_init(&m->pci, "pci.0", &host, err);

	if (r < 0)
		return r;
	m->pci.bus.alias = "pcie.0"; /* as on q35, which is a name of this board too */
	make_devices(m);
	m->board_up = true;
	r = make_transports(m, place, arg, err);
	if (r < 0)
		return r;
	r = map_all(m);
	return r < 0 ? fail(err, -r, "cannot map the board's devices: %s", errno_str(-r)) : 0;
}

static int start_serial(struct machine *m, unsigned i, struct error *err)
{
	int r = serial_start(&m->serial[i], m->loop, user_quit, m, err);

	if (r < 0)
		error_prefix(err, "-serial %.200s: ", m->cfg.serial[i]);
	return r;
}

int machine_ready(struct machine *m, struct error *err)
{
	int r = m->accel->cpus_start(m->accel, err);

	if (r == 0)
		r = firmware(m, err);
	for (unsigned i = 0; r == 0 && i < MACHINE_SERIALS; i++)
		if (m->serials & BIT(i))
			r = start_serial(m, i, err);
	return r;
}

void machine_start(struct machine *m)
{
	run_vm(m);
}

/* ---- access ---- */

/* ---- the end ---- */

static void free_board(struct machine *m)
{
	stop_vm(m, SHUTDOWN);
	for (unsigned i = 0; i < MMIO_SLOTS; i++)
		virtio_mmio_free(m->mmio[i]);
	pci_bus_deinit(&m->pci);
	for (unsigned i = 0; i < MACHINE_SERIALS; i++)
		if (m->serials & BIT(i))
			serial_destroy(&m->serial[i]);
	rtc_destroy(&m->rtc);
	acpi_pm_destroy(&m->pm);
	mutex_destroy(&m->reset_ports.lock);
}

void machine_free(struct machine *m)
{
	if (!m)
		return;
	loop_unpost(m->loop, &m->post);
	if (m->board_up)
		free_board(m);
	for (unsigned i = 0; i < MACHINE_SERIALS; i++)
		chardev_close(m->chr[i]);
	terminal_restore();
	/* Doorbells are unbound through the accelerator, whose vCPUs are parked. */
	space_free(m->mem);
	space_free(m->io);
	if (m->accel)
		m->accel->destroy(m->accel);
	boot_close(&m->boot);
	if (m->ram.n)
		ram_destroy(&m->ram);
	free(m);
}
