/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of a learning switch, at times of our own. */
#include "unit.h"

#include "net/fdb.h"

#define S NSEC_PER_SEC

static struct fdb *f;
static struct fdb_port port[4];

static int setup(void **state)
{
	(void)state;
	memset(port, 0, sizeof(port));
	f = fdb_new();
	fdb_set_ageing(f, 300 * S);
	fdb_set_ports(f, 4);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fdb_free(f);
	return 0;
}

/* A station's address, one of 2^32. */
static const uint8_t *mac(unsigned n)
{
	static uint8_t m[2][6];
	static unsigned turn;
	uint8_t *p = m[turn++ & 1];

	p[0] = 2;
	p[1] = 0;
	for (unsigned i = 0; i < 4; i++)
		p[2 + i] = (uint8_t)(n >> (8 * i));
	return p;
}

static unsigned count(void)
{
	struct fdb_stats s;

	fdb_stats(f, &s);
	assert_int_equal(s.count, port[0].count + port[1].count + port[2].count + port[3].count);
	return s.count;
}

static void learns_and_moves(void **state)
{
	struct fdb_stats s;

	(void)state;
	assert_null(fdb_find(f, mac(1), 0, 0));
	fdb_learn(f, &port[0], mac(1), 0, 0);
	fdb_learn(f, &port[1], mac(1), 7, 0); /* in another VLAN: another station */
	assert_ptr_equal(fdb_find(f, mac(1), 0, 0), &port[0]);
	assert_ptr_equal(fdb_find(f, mac(1), 7, 0), &port[1]);
	assert_null(fdb_find(f, mac(1), 8, 0));
	fdb_learn(f, &port[2], mac(1), 0, S);
	assert_ptr_equal(fdb_find(f, mac(1), 0, S), &port[2]);
	assert_ptr_equal(fdb_find(f, mac(1), 7, S), &port[1]);
	assert_int_equal(port[0].count, 0);
	assert_int_equal(count(), 2);
	fdb_stats(f, &s);
	assert_int_equal(s.moved, 1);
}

static void never_learned(void **state)
{
	static const uint8_t group[6] = { 1, 0, 0x5e, 0, 0, 1 }, zero[6], all[6] = { 255, 255, 255, 255, 255, 255 };

	(void)state;
	fdb_learn(f, &port[0], group, 0, 0);
	fdb_learn(f, &port[0], zero, 0, 0);
	fdb_learn(f, &port[0], all, 0, 0);
	assert_int_equal(count(), 0);
	assert_null(fdb_find(f, all, 0, 0));
}

static void ages(void **state)
{
	(void)state;
	fdb_learn(f, &port[0], mac(1), 0, 10 * S);
	fdb_learn(f, &port[0], mac(2), 0, 10 * S);
	fdb_learn(f, &port[0], mac(2), 0, 200 * S); /* seen again */
	assert_non_null(fdb_find(f, mac(1), 0, 310 * S));
	assert_null(fdb_find(f, mac(1), 0, 310 * S + 1));
	assert_int_equal(count(), 1); /* it was freed when it was met */
	assert_non_null(fdb_find(f, mac(2), 0, 500 * S));
	assert_null(fdb_find(f, mac(2), 0, 501 * S));
	fdb_learn(f, &port[1], mac(1), 0, 501 * S);
	assert_ptr_equal(fdb_find(f, mac(1), 0, 501 * S), &port[1]);
	/* time that seems to go back is no age */
	assert_ptr_equal(fdb_find(f, mac(1), 0, 400 * S), &port[1]);
}

static void forgets_a_port(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		fdb_learn(f, &port[i % 4], mac(i), 0, 0);
	fdb_forget(f, &port[2]);
	assert_int_equal(port[2].count, 0);
	assert_int_equal(count(), 750);
	for (unsigned i = 0; i < 1000; i++)
		assert_ptr_equal(fdb_find(f, mac(i), 0, 0), i % 4 == 2 ? NULL : &port[i % 4]);
}

/* A port that shows more stations than there is room for does not push out others, and leaves some room for each. */
static void is_bounded(void **state)
{
	struct fdb_stats s;
	unsigned seen;

	(void)state;
	fdb_learn(f, &port[1], mac(1000000), 0, 0);
	for (unsigned i = 0; i < 100000; i++)
		fdb_learn(f, &port[0], mac(i), 0, 0);
	fdb_stats(f, &s);
	assert_int_equal(s.count, FDB_SIZE - 4 * FDB_RESERVED);
	assert_int_equal(s.refused, 100000 + 1 - s.count);
	assert_ptr_equal(fdb_find(f, mac(1000000), 0, 0), &port[1]);
	seen = count();
	for (unsigned i = 0; i < 100; i++) {
		fdb_learn(f, &port[2], mac(2000000 + i), 0, 0);
		fdb_learn(f, &port[3], mac(3000000 + i), 0, 0);
	}
	assert_int_equal(port[2].count, FDB_RESERVED);
	assert_int_equal(port[3].count, FDB_RESERVED);
	assert_int_equal(count(), seen + 2 * FDB_RESERVED);
	for (unsigned i = 0; i < FDB_RESERVED; i++)
		assert_ptr_equal(fdb_find(f, mac(2000000 + i), 0, 0), &port[2]);
	/* one that is known may always be seen again, and move */
	fdb_learn(f, &port[3], mac(0), 0, 0);
	assert_ptr_equal(fdb_find(f, mac(0), 0, 0), &port[3]);
}

/* When all of it is old there is room again, for all of it. */
static void full_of_old(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2 * FDB_SIZE; i++)
		fdb_learn(f, &port[0], mac(i), 0, 100 * S);
	assert_int_equal(count(), FDB_SIZE - 4 * FDB_RESERVED);
	for (unsigned i = 0; i < 2 * FDB_SIZE; i++)
		fdb_learn(f, &port[1], mac(100000 + i), 0, 401 * S);
	assert_int_equal(port[0].count, 0);
	assert_int_equal(count(), FDB_SIZE - 4 * FDB_RESERVED);
}

static void many_ports(void **state)
{
	(void)state;
	fdb_set_ports(f, 1000000);
	for (unsigned i = 0; i < 2 * FDB_SIZE; i++)
		fdb_learn(f, &port[0], mac(i), 0, 0);
	assert_int_equal(count(), FDB_SIZE);
	fdb_set_ports(f, 0);
	fdb_forget(f, &port[0]);
	assert_int_equal(count(), 0);
}

static void note_entry(const struct fdb_entry *e, void *arg)
{
	unsigned *sum = arg;

	assert_int_equal(e->vid, 9);
	assert_int_equal(e->age, 5);
	assert_memory_equal(e->mac, mac(e->mac[2]), 6);
	*sum += e->mac[2];
}

static void shows(void **state)
{
	unsigned sum = 0;

	(void)state;
	for (unsigned i = 1; i <= 4; i++)
		fdb_learn(f, &port[1], mac(i), 9, 100 * S);
	fdb_learn(f, &port[0], mac(77), 9, 100 * S);
	fdb_each(f, &port[1], 105 * S + 1, note_entry, &sum);
	assert_int_equal(sum, 10);
	fdb_each(f, &port[1], 500 * S, note_entry, &sum); /* old ones are none */
	assert_int_equal(sum, 10);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(learns_and_moves), TEST(never_learned), TEST(ages),       TEST(forgets_a_port),
		TEST(is_bounded),	TEST(full_of_old),   TEST(many_ports), TEST(shows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
