/* SPDX-License-Identifier: BSD-2-Clause */
/* Guest RAM, the dirty log and epochs. */
#include "unit.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mem/epoch.h"
#include "mem/ram.h"

static struct error err;

static const struct ram_block two_blocks[] = {
	{ .gpa = 0, .size = 3 * MIB + 4096 },
	{ .gpa = 4 * GIB, .size = 64 * KIB },
};

/* ---- RAM ---- */

static const enum ram_backing backings[] = { RAM_PRIVATE, RAM_SHARED };

static void translate(enum ram_backing backing)
{
	struct ram r;
	uint8_t *p;

	assert_int_equal(ram_init(&r, two_blocks, 2, backing, &err), 0);
	p = ram_ptr(&r, 0, 4096);
	assert_non_null(p);
	assert_ptr_equal(ram_ptr(&r, 100, 1), p + 100);
	assert_non_null(ram_ptr(&r, 0, 3 * MIB + 4096));
	assert_null(ram_ptr(&r, 0, 3 * MIB + 4097));
	assert_null(ram_ptr(&r, 1, 3 * MIB + 4096));
	assert_non_null(ram_ptr(&r, 3 * MIB + 4095, 1));
	assert_null(ram_ptr(&r, 3 * MIB + 4096, 0));
	assert_null(ram_ptr(&r, 3 * MIB + 4096, 1));
	assert_non_null(ram_ptr(&r, 0, 0));
	assert_null(ram_ptr(&r, 0, UINT64_MAX));
	assert_null(ram_ptr(&r, 100, UINT64_MAX - 50));
	assert_null(ram_ptr(&r, UINT64_MAX, 1));
	assert_null(ram_ptr(&r, 4 * GIB - 1, 2));
	assert_non_null(ram_ptr(&r, 4 * GIB, 64 * KIB));
	/* Host and guest address agree modulo a huge page. */
	assert_int_equal((uintptr_t)p % (2 * MIB), 0);
	assert_int_equal((uintptr_t)ram_ptr(&r, 4 * GIB, 1) % (2 * MIB), 0);
	ram_destroy(&r);
}

static void ram_is_translated(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(backings); i++)
		translate(backings[i]);
}

static sigjmp_buf jump;

static void on_fault(int sig)
{
	siglongjmp(jump, sig);
}

static bool faults(volatile uint8_t *p)
{
	if (sigsetjmp(jump, 1))
		return true;
	(void)*p;
	return false;
}

static void look_beside_blocks(enum ram_backing backing)
{
	struct ram r;
	uint8_t *p;

	assert_int_equal(ram_init(&r, two_blocks, 2, backing, &err), 0);
	for (unsigned i = 0; i < 2; i++) {
		p = r.block[i].host;
		assert_false(faults(p));
		assert_false(faults(p + r.block[i].size - 1));
		assert_true(faults(p - 1));
		assert_true(faults(p + r.block[i].size));
	}
	ram_destroy(&r);
}

static void beside_a_block_is_nothing(void **state)
{
	struct sigaction sa = { .sa_handler = on_fault }, old;

	(void)state;
	sigaction(SIGSEGV, &sa, &old);
	for (unsigned i = 0; i < ARRAY_SIZE(backings); i++)
		look_beside_blocks(backings[i]);
	sigaction(SIGSEGV, &old, NULL);
}

/* The kernel's two-letter flags of the mapping at p (proc_pid_smaps(5)), between blanks. */
static void mapping_flags(const void *p, char *line, int size)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	bool here = false, found = false;
	uintptr_t from, to;

	assert_non_null(f);
	while (!found && fgets(line, size, f)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			here = from <= (uintptr_t)p && (uintptr_t)p < to;
		found = here && !strncmp(line, "VmFlags:", 8);
	}
	fclose(f);
	assert_true(found);
}

static void check_flags(const uint8_t *p, const char *huge)
{
	char flags[4096];

	mapping_flags(p, flags, sizeof(flags));
	assert_non_null(strstr(flags, " dd ")); /* in no core dump */
	assert_non_null(strstr(flags, " dc ")); /* in no child */
	if (!access("/sys/kernel/mm/transparent_hugepage", F_OK))
		assert_non_null(strstr(flags, huge)); /* " hg ": in huge pages, " nh ": never */
}

static bool child_has(void *p)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(msync(p, 4096, MS_ASYNC) == 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void ram_stays_in_its_process(void **state)
{
	uint8_t *other = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_ptr_not_equal(other, MAP_FAILED);
	for (unsigned i = 0; i < ARRAY_SIZE(backings); i++) {
		struct ram r;

		assert_int_equal(ram_init(&r, two_blocks, 2, backings[i], &err), 0);
		check_flags(r.block[0].host, " nh ");
		check_flags(r.block[0].host + 2 * MIB, " hg ");
		check_flags(r.block[1].host, " hg ");
		assert_false(child_has(r.block[0].host));
		assert_false(child_has(r.block[0].host + 2 * MIB));
		assert_false(child_has(r.block[1].host));
		assert_true(child_has(other));
		ram_destroy(&r);
		assert_int_equal(r.n, 0);
		assert_int_equal(r.fd, -1);
	}
	munmap(other, 4096);
}

static void private_ram_is_no_file(void **state)
{
	struct ram r;

	(void)state;
	assert_int_equal(ram_init(&r, two_blocks, 2, RAM_PRIVATE, &err), 0);
	assert_int_equal(r.fd, -1);
	ram_destroy(&r);
}

static void the_file_is_shared_and_sealed(void **state)
{
	struct ram r;
	uint8_t *p;

	(void)state;
	assert_int_equal(ram_init(&r, two_blocks, 2, RAM_SHARED, &err), 0);
	assert_int_equal(ftruncate(r.fd, 0), -1);
	assert_int_equal(ftruncate(r.fd, GIB), -1);
	assert_int_equal(fcntl(r.fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, r.fd, (off_t)r.block[1].fd_offset);
	assert_ptr_not_equal(p, MAP_FAILED);
	*(char *)ram_ptr(&r, 4 * GIB + 5, 1) = 'x';
	assert_int_equal(p[5], 'x');
	munmap(p, 4096);
	ram_destroy(&r);
}

static void bad_blocks_are_refused(void **state)
{
	static const struct ram_block bad[][2] = {
		{ { .gpa = 0, .size = 0 } },
		{ { .gpa = 0, .size = 100 } },
		{ { .gpa = 5, .size = 4096 } },
		{ { .gpa = 0, .size = 8192 }, { .gpa = 4096, .size = 4096 } },
		{ { .gpa = 8192, .size = 4096 }, { .gpa = 0, .size = 4096 } },
		{ { .gpa = UINT64_MAX - 4095, .size = 4096 } },
		{ { .gpa = 4096, .size = UINT64_MAX - 4095 } },
	};
	struct ram r;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(ram_init(&r, bad[i], bad[i][1].size ? 2 : 1, RAM_SHARED, &err), -EINVAL);
		assert_int_equal(r.n, 0);
		assert_int_equal(r.fd, -1);
	}
	assert_int_equal(ram_init(&r, two_blocks, 0, RAM_PRIVATE, &err), -EINVAL);
	assert_int_equal(ram_init(&r, two_blocks, RAM_BLOCKS_MAX + 1, RAM_PRIVATE, &err), -EINVAL);
}

static void too_much_ram_says_so(void **state)
{
	const struct ram_block much[] = { two_blocks[0], { .gpa = 4 * GIB, .size = BIT(60) } };
	struct ram r;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(backings); i++) {
		assert_true(ram_init(&r, much, 2, backings[i], &err) < 0);
		assert_non_null(strstr(err.msg, "MiB"));
		assert_int_equal(r.n, 0);
		assert_int_equal(r.fd, -1);
	}
}

static void dma_copies_only_ram(void **state)
{
	struct ram r;
	struct dma d = { .ram = &r };
	char buf[8] = "";

	(void)state;
	assert_int_equal(ram_init(&r, two_blocks, 2, RAM_PRIVATE, &err), 0);
	assert_int_equal(dma_write(&d, 0, "abc", 4), -EFAULT);
	d.on = true;
	assert_int_equal(dma_write(&d, 3 * MIB + 4094, "abc", 4), -EFAULT);
	assert_int_equal(*(char *)ram_ptr(&r, 3 * MIB + 4094, 1), 0);
	assert_int_equal(dma_write(&d, 3 * MIB + 4092, "abc", 4), 0);
	assert_int_equal(dma_read(&d, 3 * MIB + 4092, buf, 4), 0);
	assert_string_equal(buf, "abc");
	assert_int_equal(dma_read(&d, 3 * GIB, buf, 4), -EFAULT);
	d.on = false;
	assert_int_equal(dma_read(&d, 0, buf, 4), -EFAULT);
	ram_destroy(&r);
}

/* ---- dirty log ---- */

static bool bit(const uint64_t *map, uint64_t n)
{
	return map[n / 64] >> n % 64 & 1;
}

static void writes_are_logged_by_page(void **state)
{
	uint64_t map[16], last = 3 * MIB / 4096;
	struct dirty_log *log;
	struct ram r;
	struct dma d = { .ram = &r, .on = true };

	(void)state;
	assert_int_equal(ram_init(&r, two_blocks, 2, RAM_PRIVATE, &err), 0);
	dma_dirty(&d, 0, 4096);
	log = dirty_log_start(&r, &err);
	assert_non_null(log);
	assert_null(dirty_log_start(&r, &err));
	memset(map, 0xff, sizeof(map));
	assert_int_equal(dirty_log_sync(log, 0, map), 0);
	assert_int_equal(map[0], 0);

	assert_int_equal(dma_write(&d, 4095, "ab", 2), 0);
	dma_dirty(&d, 63 * 4096, 2 * 4096);
	dma_dirty(&d, last * 4096, 4096);
	dma_dirty(&d, 100 * 4096, 0);
	dma_dirty(&d, 3 * GIB, 4096);
	ram_dirty_host(&r, r.block[0].host + 200 * 4096 + 1, 4096);
	ram_dirty_host(&r, map, sizeof(map));
	assert_int_equal(dirty_log_sync(log, 0, map), 7);
	assert_true(bit(map, 0) && bit(map, 1) && bit(map, 63) && bit(map, 64) && bit(map, last));
	assert_true(bit(map, 200) && bit(map, 201) && !bit(map, 2) && !bit(map, 100) && !bit(map, 65));
	assert_int_equal(dirty_log_sync(log, 0, map), 0);

	dma_dirty(&d, 4 * GIB, 64 * KIB);
	assert_int_equal(dirty_log_sync(log, 0, map), 0);
	assert_int_equal(dirty_log_sync(log, 1, map), 16);
	assert_int_equal(map[0], 0xffff);
	/* A range over many words. */
	dma_dirty(&d, 10 * 4096, 500 * 4096);
	assert_int_equal(dirty_log_sync(log, 0, map), 500);
	assert_true(!bit(map, 9) && bit(map, 10) && bit(map, 509) && !bit(map, 510));
	dirty_log_stop(&r);
	dirty_log_stop(&r);
	dma_dirty(&d, 0, 4096);
	assert_non_null(dirty_log_start(&r, &err));
	ram_destroy(&r);
}

/* ---- epochs ---- */

static unsigned freed;

static void count_free(struct retired *r)
{
	(void)r;
	freed++;
}

static void retired_objects_wait_for_readers(void **state)
{
	struct epoch_reader a, b;
	struct retired r[4];

	(void)state;
	freed = 0;
	epoch_register(&a);
	epoch_register(&b);
	epoch_retire(&r[0], count_free);
	assert_int_equal(freed, 1);

	epoch_enter(&a);
	epoch_retire(&r[0], count_free);
	epoch_enter(&b);
	epoch_retire(&r[1], count_free);
	assert_int_equal(freed, 1);
	/* `b` entered after the first was retired, `a` before. */
	epoch_leave(&a);
	epoch_collect();
	assert_int_equal(freed, 2);
	epoch_enter(&a);
	epoch_retire(&r[2], count_free);
	/* To enter anew counts as having been outside. */
	epoch_enter(&b);
	epoch_collect();
	assert_int_equal(freed, 3);
	epoch_enter(&a);
	epoch_collect();
	assert_int_equal(freed, 4);
	epoch_retire(&r[3], count_free);
	epoch_leave(&b);
	epoch_unregister(&b);
	epoch_collect();
	assert_int_equal(freed, 4);
	/* A reader that goes away holds nothing up. */
	epoch_unregister(&a);
	epoch_collect();
	assert_int_equal(freed, 5);
	epoch_leave(&a);
}

static void synchronize_does_not_wait_for_its_caller(void **state)
{
	struct epoch_reader main_loop, net_loop;

	(void)state;
	epoch_register(&main_loop);
	epoch_register(&net_loop);
	epoch_enter(&main_loop);
	epoch_synchronize();
	epoch_enter(&net_loop);
	epoch_synchronize();
	epoch_leave(&net_loop);
	epoch_synchronize();
	epoch_leave(&main_loop);
	epoch_unregister(&main_loop);
	epoch_unregister(&net_loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ram_is_translated),
		cmocka_unit_test(beside_a_block_is_nothing),
		cmocka_unit_test(ram_stays_in_its_process),
		cmocka_unit_test(private_ram_is_no_file),
		cmocka_unit_test(the_file_is_shared_and_sealed),
		cmocka_unit_test(bad_blocks_are_refused),
		cmocka_unit_test(too_much_ram_says_so),
		cmocka_unit_test(dma_copies_only_ram),
		cmocka_unit_test(writes_are_logged_by_page),
		cmocka_unit_test(retired_objects_wait_for_readers),
		cmocka_unit_test(synchronize_does_not_wait_for_its_caller),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
