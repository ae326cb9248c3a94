/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The board under KVM with guests of a few instructions: ways to end and to reset, string I/O, memory without
 * anything behind it, pausing, several CPUs, doorbells, interrupts.
 */
#include "tinyguest.h"
#include "virtio/virtio_mmio.h"

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mem/epoch.h"

/* ---- guests ---- */

/* clang-format off */
GUEST(hello,
	"mov $0x3f8, %dx\n"
	"lea 2f(%rip), %rsi\n"
	"mov $3f - 2f, %ecx\n"
	"cld\n rep outsb\n"
	POWEROFF
	"2: .rept 50\n .ascii \"0123456789\"\n .endr\n 3:\n");

GUEST(string_in,
	"mov $0x5f0, %dx\n"	/* nobody there */
	"mov $MAILBOX, %edi\n mov $100, %ecx\n cld\n rep insb\n"
	"mov $0x5f0, %dx\n in %dx, %eax\n mov %eax, MAILBOX + 0x100\n"
	"mov $0xd0000ff9, %ebx\n mov (%rbx), %eax\n mov %eax, MAILBOX + 0x104\n"	/* an unaligned word in the PCI window */
	"movl $1, 4(%rbx)\n"
	"mov $0xc0000000, %ebx\n mov (%rbx), %eax\n mov %eax, MAILBOX + 0x108\n"	/* ECAM: 00:00.0 */
	"mov $0xcf8, %dx\n mov $0x80000000, %eax\n out %eax, %dx\n"
	"mov $0xcfc, %dx\n in %dx, %eax\n mov %eax, MAILBOX + 0x10c\n"
	POWEROFF);

/* Reset in a different way each time, 40 times. */
GUEST(resets,
	"incl MAILBOX\n mov MAILBOX, %eax\n cmp $40, %eax\n jae 8f\n"
	"and $3, %eax\n jz 1f\n dec %eax\n jz 2f\n dec %eax\n jz 3f\n"
	"mov $6, %al\n mov $0xcf9, %dx\n out %al, %dx\n jmp 4f\n"
	"1: mov $0xfe, %al\n out %al, $0x64\n jmp 4f\n"
	"2: mov $1, %al\n out %al, $0x92\n jmp 4f\n"
	"3: ud2\n"	/* no IDT: triple fault */
	"4: hlt\n jmp 4b\n"
	"8: " POWEROFF);

/* Ask for what the mailbox says, by each way there is; what it executes behind that is counted. */
GUEST(onward,
	"incl MAILBOX + 4\n mov MAILBOX, %ecx\n"
	"jecxz 1f\n dec %ecx\n jz 2f\n dec %ecx\n jz 3f\n dec %ecx\n jz 4f\n dec %ecx\n jz 5f\n"
	"6: hlt\n jmp 6b\n"
	"1: mov $0xfe, %al\n out %al, $0x64\n jmp 7f\n"
	"2: mov $6, %al\n mov $0xcf9, %dx\n out %al, %dx\n jmp 7f\n"
	"3: mov $0xfe, %al\n mov $0x200000, %esi\n mov %al, (%rsi)\n mov $0x64, %dx\n"
	"mov $1, %ecx\n rep outsb\n jmp 7f\n"
	"4: mov $0x604, %dx\n mov $(1 << 13 | 5 << 10), %ax\n out %ax, %dx\n jmp 7f\n"
	"5: mov $0x505, %dx\n mov $1, %al\n out %al, %dx\n"
	"7: incl MAILBOX + 8\n out %al, $0x80\n jmp 7b\n");

GUEST(count, "1: incl MAILBOX\n mov $0x80, %dx\n out %al, %dx\n jmp 1b\n");

/* Start all the others, wait until each has said so, reset a few times, power off. */
GUEST(smp,
	"movl $0, MAILBOX\n incl MAILBOX + 4\n"
	"lea 6f(%rip), %rsi\n mov $0x60000, %edi\n mov $7f - 6f, %ecx\n cld\n rep movsb\n"
	"mov $0xfee00300, %edi\n"
	"movl $0xc4500, (%rdi)\n"	/* INIT, all but self */
	"1: testl $0x1000, (%rdi)\n jnz 1b\n"
	"movl $0xc4660, (%rdi)\n"	/* SIPI, vector 0x60 */
	"2: mov MAILBOX, %eax\n cmp MAILBOX + 8, %eax\n jb 2b\n"
	"cmpl $5, MAILBOX + 4\n jae 3f\n"
	"mov $6, %al\n mov $0xcf9, %dx\n out %al, %dx\n"
	"4: hlt\n jmp 4b\n"
	"3: " POWEROFF
	".code16\n 6: mov $0x5000, %ax\n mov %ax, %ds\n lock incl 0\n 5: hlt\n jmp 5b\n 7: .code64\n");

/* Write a doorbell in each width, then say so. */
GUEST(bells,
	"mov $0xd0000000, %edi\n movw $7, (%rdi)\n movb $7, (%rdi)\n movl $7, (%rdi)\n"
	"movl $1, 4(%rdi)\n movl $2, 4(%rdi)\n"	/* one matches */
	"mov $0xc800, %dx\n mov $3, %ax\n out %ax, %dx\n"
	POWEROFF);

/* Interrupts stay off: what is pending shows in the local APIC and in the PIC. */
GUEST(interrupts,
	"incl MAILBOX\n"
	"mov $0xfee00220, %ebx\n 1: testl $2, (%rbx)\n jz 1b\n"	/* vector 0x41 */
	"incl MAILBOX\n"
	"mov $0x0a, %al\n out %al, $0x20\n out %al, $0xa0\n"
	"2: in $0xa0, %al\n test $4, %al\n jz 2b\n"	/* GSI 10 */
	"incl MAILBOX\n"
	"3: in $0xa0, %al\n test $4, %al\n jnz 3b\n"
	POWEROFF);

/* Strings without end, of port reads, of memory reads, of port writes: the mailbox says which. */
GUEST(strings,
	"cld\n 1: mov $0xc800, %dx\n mov $0x200000, %edi\n mov $0x100000, %ecx\n mov MAILBOX, %eax\n"
	"dec %eax\n jz 2f\n dec %eax\n jz 3f\n"
	"rep insb\n jmp 1b\n"
	"2: mov $0xd0000000, %esi\n mov $0x1000, %ecx\n rep movsb\n jmp 1b\n"
	"3: mov $0x200000, %esi\n rep outsb\n jmp 1b\n");

GUEST(faults, "incl MAILBOX\n ud2\n");	/* no IDT: triple fault */

GUEST(panic, "mov $0x505, %dx\n mov $1, %al\n out %al, %dx\n 1: hlt\n jmp 1b\n");
GUEST(lost, "mov $0xd0000000, %edi\n jmp *%rdi\n");	/* there is nothing to execute */
/* clang-format on */

static const struct type *const types[] = { &type_object,	   &type_device,      &type_pci_device,
					    &type_pci_host_bridge, &type_virtio_mmio, NULL };

/* ---- tests ---- */

static void string_output_and_poweroff(void **state)
{
	char got[600];
	int fd;

	(void)state;
	make(IMAGE(hello), (struct machine_config){ 0 }, NULL);
	run();
	assert_int_equal(status, 0);
	fd = serial_fd;
	serial_fd = -1;
	unmake(); /* writes out what is left */
	assert_int_equal(pread(fd, got, sizeof(got), 0), 500);
	for (unsigned i = 0; i < 500; i++)
		assert_int_equal(got[i], '0' + i % 10);
	close(fd);
}

static void what_is_not_there_reads_as_ones(void **state)
{
	(void)state;
	make(IMAGE(string_in), (struct machine_config){ 0 }, NULL);
	run();
	assert_int_equal(status, 0);
	for (unsigned i = 0; i < 100; i += 4)
		assert_int_equal(*mailbox(i), UINT32_MAX);
	assert_int_equal(*mailbox(100), 0);
	assert_int_equal(*mailbox(0x100), UINT32_MAX);
	assert_int_equal(*mailbox(0x104), UINT32_MAX);
	assert_int_equal(*mailbox(0x108), 0x00081b36); /* the host bridge, both ways */
	assert_int_equal(*mailbox(0x10c), 0x00081b36);
	unmake();
}

static void each_way_to_reset(void **state)
{
	(void)state;
	make(IMAGE(resets), (struct machine_config){ 0 }, NULL);
	run();
	assert_int_equal(status, 0);
	assert_int_equal(*mailbox(0), 40);
	unmake();
	make(IMAGE(resets), (struct machine_config){ .no_reboot = true }, NULL);
	run();
	assert_int_equal(status, 0);
	assert_int_equal(*mailbox(0), 1);
	unmake();
}

/* ---- behind a request ---- */

enum onward {
	BY_I8042,
	BY_CF9,
	BY_STRING, /* the i8042 again */
	RESETS,
	BY_S5 = RESETS,
	BY_PANIC,
	NO_MORE
};

/* Wait until the guest asked so often; a generous look at what it does while main does not. How often it asked. */
static uint32_t asked(uint32_t times)
{
	for (unsigned i = 0; *mailbox(4) < times; i++) {
		assert_true(i < 100000);
		usleep(100);
	}
	usleep(20000);
	assert_int_equal(*mailbox(8), 0);
	return *mailbox(4);
}

static void turn_until(const char *state)
{
	for (unsigned i = 0; strcmp(machine_state_name(machine), state); i++) {
		assert_true(i < 100000);
		loop_turn(loop);
		usleep(100);
	}
}

static void ask(enum onward way, struct machine_config cfg)
{
	make(IMAGE(onward), cfg, NULL);
	*mailbox(0) = way;
	start();
	assert_int_equal(asked(1), 1);
}

static void nothing_runs_behind_a_request_to_reset(void **state)
{
	(void)state;
	for (enum onward way = 0; way < RESETS; way++) {
		uint32_t i = 1;

		ask(way, (struct machine_config){ 0 });
		while (i < 10) {
			/* One reset for one request; on a slow machine it may have asked again before until() looked. */
			until(4, i + 1);
			assert_true(machine_running(machine));
			assert_in_range(asked(i + 1), i + 1, i + 2);
			i = *mailbox(4);
		}
		*mailbox(0) = NO_MORE;
		until(4, i + 1);
		machine_request(machine, MACHINE_SHUTDOWN, "test ends it");
		loop_run(loop);
		assert_int_equal(status, 0);
		assert_int_equal(*mailbox(8), 0);
		unmake();
	}
}

/* It waits for the reset, and for nothing else; nobody waits for it. */
static void a_held_cpu_holds_nobody_up(void **state)
{
	(void)state;
	ask(BY_I8042, (struct machine_config){ .cpus = 2 });
	machine_request(machine, MACHINE_PAUSE, "test"); /* the reset comes first, and leaves it paused */
	turn_until("paused");
	machine_request(machine, MACHINE_RESUME, "test");
	turn_until("running");
	until(4, 2);
	assert_in_range(asked(2), 2, 4);			    /* before the pause, and after it */
	machine_request(machine, MACHINE_SHUTDOWN, "test ends it"); /* before the reset that it asked for */
	loop_run(loop);
	assert_int_equal(status, 0);
	unmake();
	ask(BY_CF9, (struct machine_config){ 0 });
	unmake(); /* and nobody ever looked */
	ask(BY_I8042, (struct machine_config){ .no_reboot = true });
	loop_run(loop);
	assert_int_equal(status, 0);
	assert_int_equal(*mailbox(8), 0);
	unmake();
}

static void nothing_runs_behind_the_end(void **state)
{
	static const char *const states[] = { [BY_S5] = "shutdown", [BY_PANIC] = "guest-panicked" };

	(void)state;
	for (enum onward way = BY_S5; way <= BY_PANIC; way++) {
		ask(way, (struct machine_config){ .no_shutdown = true });
		turn_until(states[way]);
		machine_request(machine, MACHINE_RESUME, "test");
		loop_turn(loop);
		usleep(10000);
		assert_int_equal(*mailbox(8), 0);
		machine_request(machine, MACHINE_RESET, "test");
		machine_request(machine, MACHINE_RESUME, "test");
		loop_turn(loop);
		assert_true(machine_running(machine));
		assert_int_equal(asked(2), 2);
		unmake();
	}
}

static int refuse_reset(struct accel *a, const struct boot_cpu *boot, struct error *e)
{
	(void)a, (void)boot;
	return fail(e, EIO, "the processors are not to be reset");
}

static void a_reset_that_fails_ends_it(void **state)
{
	(void)state;
	make(IMAGE(resets), (struct machine_config){ 0 }, NULL);
	start();
	accel->cpus_reset = refuse_reset;
	loop_run(loop);
	assert_int_equal(status, 1);
	assert_true(*mailbox(0) < 40);
	unmake();
	make(IMAGE(resets), (struct machine_config){ 0 }, NULL);
	accel->cpus_reset = refuse_reset;
	assert_int_equal(machine_ready(machine, &err), -EIO);
	assert_string_equal(err.msg, "the processors are not to be reset");
	unmake();
}

/* Send stderr to a file from now on; the old one, for end_capture(). */
static int capture(int file)
{
	int was = dup(STDERR_FILENO);

	dup2(file, STDERR_FILENO);
	return was;
}

static unsigned end_capture(int file, int was, const char *what)
{
	static char text[65536];
	unsigned n = 0;
	ssize_t len;

	dup2(was, STDERR_FILENO);
	close(was);
	len = pread(file, text, sizeof(text) - 1, 0);
	assert_true(len >= 0);
	text[len] = 0;
	close(file);
	for (const char *p = text; (p = strstr(p, what)); p++)
		n++;
	return n;
}

/* Each leads to a reset: a guest may go on like that for ever, and the log does not. */
static void triple_faults_are_said_ten_times_a_second(void **state)
{
	uint64_t begin = clock_now(CLOCK_HOST_NS);
	int file = memfd_create("log", MFD_CLOEXEC), was;
	unsigned said, seconds;

	(void)state;
	was = capture(file);
	make(IMAGE(faults), (struct machine_config){ 0 }, NULL);
	start();
	until(0, 100);
	machine_request(machine, MACHINE_SHUTDOWN, "test ends it");
	loop_run(loop);
	unmake();
	said = end_capture(file, was, "triple fault");
	seconds = (unsigned)((clock_now(CLOCK_HOST_NS) - begin) / NSEC_PER_SEC) + 2;
	assert_true(said <= 10 * seconds); /* of 100; none, if the ten of this second are used up */
}

static void no_shutdown_stops_and_a_reset_leads_on(void **state)
{
	(void)state;
	make(IMAGE(resets), (struct machine_config){ .no_shutdown = true }, NULL);
	*mailbox(0) = 39; /* power off at once */
	start();
	for (unsigned i = 0; i < 5000 && machine_running(machine); i++) {
		loop_turn(loop);
		usleep(1000);
	}
	assert_string_equal(machine_state_name(machine), "shutdown");
	machine_request(machine, MACHINE_RESUME, "test");
	loop_turn(loop);
	assert_string_equal(machine_state_name(machine), "shutdown");
	machine_request(machine, MACHINE_RESET, "test");
	loop_turn(loop);
	assert_string_equal(machine_state_name(machine), "paused");
	*mailbox(0) = 100;
	machine_request(machine, MACHINE_RESUME, "test");
	until(0, 101);
	machine_request(machine, MACHINE_SHUTDOWN, "test ends it");
	loop_run(loop);
	assert_int_equal(status, 0);
	unmake();
}

static void a_guest_that_cannot_go_on_ends_with_1(void **state)
{
	(void)state;
	make(IMAGE(panic), (struct machine_config){ 0 }, NULL);
	run();
	assert_int_equal(status, 1);
	unmake();
	make(IMAGE(lost), (struct machine_config){ .cpus = 2 }, NULL);
	run();
	assert_int_equal(status, 1);
	unmake();
	make(IMAGE(panic), (struct machine_config){ .no_shutdown = true }, NULL);
	start();
	for (unsigned i = 0; i < 5000 && machine_running(machine); i++) {
		loop_turn(loop);
		usleep(1000);
	}
	assert_string_equal(machine_state_name(machine), "guest-panicked");
	unmake();
}

static void nothing_runs_while_paused(void **state)
{
	uint32_t before;
	uint64_t clock;

	(void)state;
	make(IMAGE(count), (struct machine_config){ .cpus = 2 }, NULL);
	start();
	until(0, 1000);
	for (unsigned i = 0; i < 200; i++) {
		machine_request(machine, MACHINE_PAUSE, "test");
		loop_turn(loop);
		assert_string_equal(machine_state_name(machine), "paused");
		before = *mailbox(0);
		clock = clock_now(CLOCK_VM_NS);
		usleep(i % 3 * 500);
		assert_int_equal(*mailbox(0), before);
		assert_true(clock_now(CLOCK_VM_NS) == clock);
		machine_request(machine, MACHINE_RESUME, "test");
		loop_turn(loop);
		assert_true(machine_running(machine));
		if (i % 4 == 0)
			until(0, before + 1);
	}
	unmake(); /* while it runs */
}

static void all_cpus_start_after_each_reset(void **state)
{
	static const unsigned counts[] = { 2, 8 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		make(IMAGE(smp), (struct machine_config){ .cpus = counts[i] }, NULL);
		*mailbox(8) = counts[i] - 1;
		run();
		assert_int_equal(status, 0);
		assert_int_equal(*mailbox(0), counts[i] - 1);
		assert_int_equal(*mailbox(4), 5);
		unmake();
	}
}

/* ---- strings ---- */

static _Atomic uint32_t accesses; /* since it was set to 0 */
static struct retired old;
static _Atomic bool freed, freed_inside;

static void free_old(struct retired *r)
{
	(void)r;
	freed = true;
}

/* While the guest's first exit is handled somebody changes a map, and all others have passed. */
static uint64_t string_read(void *opaque, uint64_t off, unsigned size)
{
	(void)opaque, (void)off, (void)size;
	if (accesses++ == 0)
		epoch_retire(&old, free_old);
	epoch_collect();
	if (accesses < 10)
		freed_inside = freed;
	return 0x5a;
}

static void string_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	(void)opaque, (void)off, (void)value, (void)size;
	accesses++;
}

static void a_string_holds_neither_maps_nor_a_pause_up(void **state)
{
	static const struct region_ops ops = { .read = string_read, .write = string_write, .min = 1, .max = 4 };
	struct region io = { .name = "io", .size = 4, .ops = &ops, .policy = REGION_NONE };
	struct region mem = { .name = "mem", .size = 4096, .ops = &ops, .policy = REGION_NONE };

	(void)state;
	make(IMAGE(strings), (struct machine_config){ 0 }, NULL);
	assert_int_equal(space_map(machine_accel_env(machine).mem, &mem, 0xd0000000, 0), 0);
	assert_int_equal(space_map(machine_accel_env(machine).io, &io, 0xc800, 0), 0);
	freed = freed_inside = false;
	accesses = 0;
	start();
	for (unsigned i = 0; i < 30; i++) {
		uint32_t seen = accesses;

		*mailbox(0) = i % 3;
		for (unsigned j = 0; accesses - seen < 5000; j++) {
			assert_true(j < 100000);
			usleep(100);
		}
		seen = accesses;
		machine_request(machine, MACHINE_PAUSE, "test");
		loop_turn(loop);
		assert_string_equal(machine_state_name(machine), "paused");
		seen = accesses;
		usleep(1000);
		assert_int_equal(accesses, seen);
		machine_request(machine, MACHINE_RESUME, "test");
		loop_turn(loop);
	}
	assert_true(freed_inside);
	unmake();
}

/* ---- doorbells ---- */

static unsigned slow_writes;

static uint64_t slow_read(void *opaque, uint64_t off, unsigned size)
{
	(void)opaque, (void)off, (void)size;
	return 0;
}

static void slow_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	(void)opaque, (void)off, (void)value, (void)size;
	slow_writes++;
}

static uint64_t rings(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static void doorbells_ring_without_an_exit(void **state)
{
	static const struct region_ops ops = { .read = slow_read, .write = slow_write, .min = 1, .max = 4 };
	struct doorbell bells[] = {
		{ .offset = 0, .width = 0, .fd = eventfd(0, EFD_NONBLOCK) },
		{ .offset = 4, .width = 4, .match = true, .value = 2, .fd = eventfd(0, EFD_NONBLOCK) },
	};
	struct doorbell port = { .offset = 0, .width = 2, .fd = eventfd(0, EFD_NONBLOCK) };
	struct region mem = {
		.name = "bells", .size = 4096, .ops = &ops, .policy = REGION_NONE, .bells = bells, .n_bells = 2
	};
	struct region io = {
		.name = "port", .size = 4, .ops = &ops, .policy = REGION_NONE, .bells = &port, .n_bells = 1
	};

	(void)state;
	make(IMAGE(bells), (struct machine_config){ 0 }, NULL);
	assert_int_equal(space_map(machine_accel_env(machine).mem, &mem, 0xd0000000, 0), 0);
	assert_int_equal(space_map(machine_accel_env(machine).io, &io, 0xc800, 0), 0);
	run();
	assert_int_equal(status, 0);
	assert_int_equal(rings(bells[0].fd), 3);
	assert_int_equal(rings(bells[1].fd), 1);
	assert_int_equal(rings(port.fd), 1);
	assert_int_equal(slow_writes, 1); /* the one that did not match */
	space_unmap(machine_accel_env(machine).mem, &mem);
	space_unmap(machine_accel_env(machine).io, &io);
	unmake();
	close(bells[0].fd);
	close(bells[1].fd);
	close(port.fd);
}

/* ---- interrupts ---- */

static void messages_and_lines_arrive(void **state)
{
	const struct msi_message lost = { .address = 0xfee00000, .data = 0x42 };
	const struct msi_message msg = { .address = 0xfee00000, .data = 0x41 };
	const struct irq_chip *irq;
	int fd, route, other_fd, other;

	(void)state;
	make(IMAGE(interrupts), (struct machine_config){ 0 }, NULL);
	irq = accel->irq;
	route = irq->route_add(irq->opaque, &fd, &err);
	other = irq->route_add(irq->opaque, &other_fd, &err);
	assert_true(route >= 0 && other >= 0 && route != other);
	start();
	until(0, 1);
	eventfd_write(fd, 1); /* no route yet: lost */
	assert_int_equal(irq->route_set(irq->opaque, other, &lost), 0);
	assert_int_equal(irq->route_set(irq->opaque, route, &lost), 0);
	assert_int_equal(irq->route_set(irq->opaque, route, &msg), 0);
	assert_int_equal(irq->route_set(irq->opaque, other, NULL), 0);
	eventfd_write(other_fd, 1);
	usleep(20000);
	assert_int_equal(*mailbox(0), 1);
	eventfd_write(fd, 1);
	until(0, 2);
	irq->set_line(irq->opaque, 10, true);
	until(0, 3);
	irq->set_line(irq->opaque, 10, false);
	loop_run(loop);
	assert_int_equal(status, 0);
	irq->route_del(irq->opaque, route);
	irq->route_del(irq->opaque, other);
	unmake();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(string_output_and_poweroff),
		cmocka_unit_test(what_is_not_there_reads_as_ones),
		cmocka_unit_test(each_way_to_reset),
		cmocka_unit_test(nothing_runs_behind_a_request_to_reset),
		cmocka_unit_test(a_held_cpu_holds_nobody_up),
		cmocka_unit_test(nothing_runs_behind_the_end),
		cmocka_unit_test(a_reset_that_fails_ends_it),
		cmocka_unit_test(triple_faults_are_said_ten_times_a_second),
		cmocka_unit_test(no_shutdown_stops_and_a_reset_leads_on),
		cmocka_unit_test(a_guest_that_cannot_go_on_ends_with_1),
		cmocka_unit_test(nothing_runs_while_paused),
		cmocka_unit_test(all_cpus_start_after_each_reset),
		cmocka_unit_test(a_string_holds_neither_maps_nor_a_pause_up),
		cmocka_unit_test(doorbells_ring_without_an_exit),
		cmocka_unit_test(messages_and_lines_arrive),
	};

	prepare(types);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
