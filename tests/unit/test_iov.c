/* SPDX-License-Identifier: BSD-2-Clause */
/* The iovec cursor and the checksum over it, each against a byte-by-byte model on random pieces. */
#include "unit.h"

#include "base/csum.h"
#include "base/iov.h"

#define TOTAL_MAX  512
#define PIECES_MAX 12

static uint32_t seed = 1;

static uint32_t rnd(uint32_t below)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 8) % below;
}

/* Random pieces, empty ones among them, each with a guard byte on both sides. */
struct pieces {
	uint8_t mem[TOTAL_MAX + 2 * PIECES_MAX];
	struct iovec iov[PIECES_MAX];
	size_t cnt, total;
};

static void make_pieces(struct pieces *p)
{
	uint8_t *at = p->mem;

	memset(p->mem, 0xee, sizeof(p->mem));
	p->cnt = rnd(PIECES_MAX + 1);
	p->total = 0;
	for (size_t i = 0; i < p->cnt; i++) {
		size_t len = rnd(4) ? rnd(TOTAL_MAX / PIECES_MAX) : 0;

		p->iov[i] = (struct iovec){ at + 1, len };
		for (size_t j = 0; j < len; j++)
			at[1 + j] = (uint8_t)rnd(256);
		at += len + 2;
		p->total += len;
	}
}

static size_t flatten(const struct pieces *p, uint8_t *out)
{
	size_t n = 0;

	for (size_t i = 0; i < p->cnt; i++) {
		memcpy(out + n, p->iov[i].iov_base, p->iov[i].iov_len);
		n += p->iov[i].iov_len;
	}
	return n;
}

static void assert_guards(const struct pieces *p)
{
	for (size_t i = 0; i < p->cnt; i++) {
		const uint8_t *b = p->iov[i].iov_base;

		assert_int_equal(b[-1], 0xee);
		assert_int_equal(b[p->iov[i].iov_len], 0xee);
	}
}

static void read_out(const struct pieces *a, const uint8_t *flat, size_t skip, size_t n)
{
	size_t want = MIN(n, a->total - MIN(skip, a->total));
	struct iov_cur ca = iov_cur(a->iov, a->cnt);
	uint8_t buf[TOTAL_MAX];

	assert_int_equal(iov_size(a->iov, a->cnt), a->total);
	assert_int_equal(iov_skip(&ca, skip), MIN(skip, a->total));
	assert_int_equal(iov_left(&ca), a->total - MIN(skip, a->total));
	assert_int_equal(iov_get(&ca, buf, n), want);
	assert_memory_equal(buf, flat + MIN(skip, a->total), want);
	if (skip <= a->total) {
		assert_int_equal(iov_read_at(a->iov, a->cnt, skip, buf, n), want);
		assert_memory_equal(buf, flat + skip, want);
	} else {
		assert_int_equal(iov_read_at(a->iov, a->cnt, skip, buf, n), 0);
	}
}

static void movers_match_the_model(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 20000; round++) {
		struct pieces a, b;
		uint8_t flat[TOTAL_MAX], other[TOTAL_MAX], buf[TOTAL_MAX + 64];
		size_t n = rnd(TOTAL_MAX), want;
		struct iov_cur ca, cb;

		make_pieces(&a);
		make_pieces(&b);
		flatten(&a, flat);
		read_out(&a, flat, rnd(TOTAL_MAX), n);

		ca = iov_cur(a.iov, a.cnt);
		cb = iov_cur(b.iov, b.cnt);
		want = MIN(n, MIN(a.total, b.total));
		assert_int_equal(iov_move(&cb, &ca, n), want);
		flatten(&b, other);
		assert_memory_equal(other, flat, want);
		assert_int_equal(iov_left(&ca), a.total - want);
		assert_int_equal(iov_left(&cb), b.total - want);
		assert_guards(&b);

		memset(buf, 0x5a, sizeof(buf));
		cb = iov_cur(b.iov, b.cnt);
		assert_int_equal(iov_put(&cb, buf, n), MIN(n, b.total));
		assert_int_equal(iov_fill(&cb, 0xa5, sizeof(buf)), b.total - MIN(n, b.total));
		flatten(&b, other);
		for (size_t i = 0; i < b.total; i++)
			assert_int_equal(other[i], i < n ? 0x5a : 0xa5);
		assert_guards(&b);
	}
}

static void references_describe_the_same_bytes(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 20000; round++) {
		struct pieces p;
		struct iovec out[PIECES_MAX];
		uint8_t flat[TOTAL_MAX], buf[TOTAL_MAX];
		size_t off = rnd(TOTAL_MAX), n = rnd(TOTAL_MAX / 2), there, want;
		unsigned max = (unsigned)rnd(PIECES_MAX + 1), cnt;
		struct iov_cur cur;

		make_pieces(&p);
		flatten(&p, flat);
		cur = iov_cur(p.iov, p.cnt);
		off = iov_skip(&cur, off);
		want = MIN(n, p.total - off);
		cnt = iov_refer(&cur, n, out, PIECES_MAX);
		assert_int_equal(iov_size(out, cnt), want);
		assert_int_equal(iov_read_at(out, cnt, 0, buf, n), want);
		assert_memory_equal(buf, flat + off, want);
		assert_int_equal(iov_left(&cur), p.total - off - want);

		cur = iov_cur(p.iov, p.cnt);
		iov_skip(&cur, off);
		assert_int_equal(iov_refer(&cur, n, out, max), MIN(cnt, max));
		there = iov_size(out, MIN(cnt, max));
		assert_int_equal(iov_read_at(out, MIN(cnt, max), 0, buf, n), there);
		assert_memory_equal(buf, flat + off, there);
		assert_int_equal(iov_left(&cur), p.total - off - there);
	}
}

static void sizes_saturate(void **state)
{
	const struct iovec iov[] = { { NULL, SIZE_MAX - 1 }, { NULL, 5 } };
	struct iov_cur cur = iov_cur(iov, 2);

	(void)state;
	assert_int_equal(iov_size(iov, 2), SIZE_MAX);
	assert_int_equal(iov_left(&cur), SIZE_MAX);
	assert_int_equal(iov_size(NULL, 0), 0);
}

/* ---- checksum ---- */

static uint16_t model(const uint8_t *p, size_t n)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htobe16((uint16_t)sum);
}

static void checksum_of_rfc1071(void **state)
{
	static const uint8_t example[] = { 0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7 };

	(void)state;
	assert_int_equal(csum_fold(csum_add(0, example, sizeof(example))), htobe16(0xddf2));
	assert_int_equal(csum_fold(0), 0);
	assert_int_equal(csum_fold(UINT64_MAX), 0xffff);
	assert_int_equal(csum_add(7, NULL, 0), 7);
}

static void checksum_matches_the_model(void **state)
{
	static uint8_t buf[70000];

	(void)state;
	for (unsigned round = 0; round < 3000; round++) {
		/* All ones make every carry happen. */
		size_t off = rnd(16), n = round % 8 ? rnd(300) : rnd(sizeof(buf) - 16);
		int c = rnd(3) ? -1 : 0xff;

		for (size_t i = 0; i < n; i++)
			buf[off + i] = c < 0 ? (uint8_t)rnd(256) : 0xff;
		assert_int_equal(csum_fold(csum_add(0, buf + off, n)), model(buf + off, n));
	}
}

static void checksum_of_pieces_is_that_of_the_whole(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 30000; round++) {
		struct pieces p;
		uint8_t flat[TOTAL_MAX];
		struct iov_cur cur;
		size_t skip, n;

		make_pieces(&p);
		flatten(&p, flat);
		skip = rnd((uint32_t)p.total + 1);
		n = rnd(TOTAL_MAX);
		cur = iov_cur(p.iov, p.cnt);
		iov_skip(&cur, skip);
		assert_int_equal(csum_fold(csum_add_iov(0, &cur, n)), model(flat + skip, MIN(n, p.total - skip)));
		assert_int_equal(iov_left(&cur), p.total - skip - MIN(n, p.total - skip));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(movers_match_the_model),
		cmocka_unit_test(references_describe_the_same_bytes),
		cmocka_unit_test(sizes_saturate),
		cmocka_unit_test(checksum_of_rfc1071),
		cmocka_unit_test(checksum_matches_the_model),
		cmocka_unit_test(checksum_of_pieces_is_that_of_the_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
