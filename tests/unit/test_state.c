/* SPDX-License-Identifier: BSD-2-Clause */
/* State tables: every kind of field there and back, and bytes that are none of theirs. */
#include "unit.h"

#include "object/state.h"

struct thing {
	uint8_t a;
	uint16_t b[3];
	uint32_t c;
	uint64_t d[2];
	bool yes;
	uint32_t n;
	uint8_t *p;
	unsigned saved, loaded;
};

static void saving(void *object)
{
	struct thing *t = object;

	t->saved++;
	t->c++;
}

static int loaded(void *object, struct error *err)
{
	struct thing *t = object;

	t->loaded++;
	return t->a == 13 ? fail(err, EINVAL, "a is unlucky") : 0;
}

#define MOST 10

static const struct state_field fields[] = {
	STATE(struct thing, a),	      STATE_ARRAY(struct thing, b),  STATE(struct thing, c),
	STATE_ARRAY(struct thing, d), STATE_BOOL(struct thing, yes), STATE_BEHIND(struct thing, p, n, MOST),
};
static const struct state_table table = { "thing", fields, ARRAY_SIZE(fields), saving, loaded };

static uint8_t behind[2][MOST];
static struct state_bytes bytes;

static struct thing one(void)
{
	for (unsigned i = 0; i < MOST; i++)
		behind[0][i] = (uint8_t)(i + 1);
	return (struct thing){ .a = 0xfe,
			       .b = { 1, 0x8000, 0xffff },
			       .c = 0x12345678,
			       .d = { 1ull << 63, UINT64_MAX },
			       .yes = true,
			       .n = 7,
			       .p = behind[0] };
}

static void save(struct thing *t)
{
	bytes.len = 0;
	assert_int_equal(state_save(&table, t, &bytes), 0);
}

static int load(struct thing *t, size_t len, size_t *used, struct error *err)
{
	memset(behind[1], 0xee, MOST);
	*t = (struct thing){ .n = 3, .p = behind[1] };
	return state_load(&table, t, bytes.p, len, used, err);
}

static void there_and_back(void **state)
{
	struct thing t = one(), to;
	struct error err;
	size_t used;

	(void)state;
	save(&t);
	assert_int_equal(t.saved, 1);
	assert_int_equal(load(&to, bytes.len, &used, &err), 0);
	assert_int_equal(used, bytes.len);
	assert_int_equal(to.a, t.a);
	assert_memory_equal(to.b, t.b, sizeof(t.b));
	assert_int_equal(to.c, 0x12345679); /* as it was when it had been brought in */
	assert_memory_equal(to.d, t.d, sizeof(t.d));
	assert_true(to.yes);
	assert_int_equal(to.n, 7);
	assert_ptr_equal(to.p, behind[1]);
	assert_memory_equal(behind[1], behind[0], 7);
	assert_int_equal(behind[1][7], 0xee);
	assert_int_equal(to.loaded, 1);
	/* None, all, and more than there may be. */
	for (unsigned n = 0; n <= MOST + 1; n++) {
		t = one();
		t.n = n;
		save(&t);
		assert_int_equal(load(&to, bytes.len, &used, &err), 0);
		assert_int_equal(to.n, MIN(n, (unsigned)MOST));
		assert_memory_equal(behind[1], behind[0], to.n);
	}
	t.a = 13;
	save(&t);
	assert_int_equal(load(&to, bytes.len, &used, &err), -EINVAL);
	assert_string_equal(err.msg, "a is unlucky");
}

/* On wrong bytes nothing is taken over, and the field is named. */
static void nothing_of(struct thing *to, size_t len, const char *named)
{
	struct error err;
	size_t used;

	assert_int_equal(load(to, len, &used, &err), -EPROTO);
	assert_non_null(strstr(err.msg, named));
	assert_int_equal(to->a | to->b[0] | to->c | to->n, 3);
	assert_int_equal(to->loaded, 0);
	assert_int_equal(behind[1][0], 0xee);
}

static void wrong_bytes(void **state)
{
	struct thing t = one(), to;
	size_t at;
	uint8_t was;

	(void)state;
	save(&t);
	for (size_t len = 0; len < bytes.len; len++)
		nothing_of(&to, len, "thing");
	/* Names, widths, counts, one after the other: all but values. */
	for (at = 0; at < 1 + 5 + 4; at++) {
		was = bytes.p[at];
		bytes.p[at] ^= 0x80;
		nothing_of(&to, bytes.len, "thing");
		bytes.p[at] = was;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(fields); i++) {
		uint32_t n = fields[i].behind ? 7 : fields[i].count;

		for (size_t k = 0; k < 1 + strlen(fields[i].name) + 1 + 4; k++) {
			was = bytes.p[at + k];
			bytes.p[at + k] ^= 0x80;
			nothing_of(&to, bytes.len, fields[i].name);
			bytes.p[at + k] = was;
		}
		at += 1 + strlen(fields[i].name) + 1 + 4 + (size_t)n * fields[i].width;
	}
	assert_int_equal(at, bytes.len);
	/* A bool that is none, and more bytes than there is room for: one too many, and no more of them. */
	at -= 7 + 4 + 1 + 1 + 1 + 1;
	assert_int_equal(bytes.p[at], 1);
	bytes.p[at] = 2;
	nothing_of(&to, bytes.len, "yes");
	bytes.p[at] = 0;
	at = bytes.len - 7 - 4;
	bytes.p[at] = MOST + 1;
	bytes.p = realloc(bytes.p, bytes.len + 4);
	assert_non_null(bytes.p);
	bytes.room = bytes.len + 4;
	memset(bytes.p + bytes.len, 0, 4);
	nothing_of(&to, bytes.len + 4, "p is missing");
	bytes.p[at] = MOST;
	nothing_of(&to, bytes.len, "p is missing");
}

static int done(void **state)
{
	(void)state;
	free(bytes.p);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(there_and_back), cmocka_unit_test(wrong_bytes) };

	return cmocka_run_group_tests(tests, NULL, done);
}
