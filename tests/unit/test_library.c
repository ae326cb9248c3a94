/* SPDX-License-Identifier: BSD-2-Clause */
/* Libraries on demand: found under one of their names, whole or not at all, and errors that name the package. */
#include "unit.h"

#include <errno.h>
#include <math.h>

#include "base/library.h"

struct functions {
	double (*cos)(double);
	double (*floor)(double);
};

static const struct library_fn both[] = {
	LIBRARY_FN(struct functions, cos, cos),
	LIBRARY_FN(struct functions, floor, floor),
};

static struct error err;

static void any_of_its_names(void **state)
{
	const struct library l = {
		.sonames = (const char *const[]){ "libnowhere.so.1", "libm.so.6", NULL },
		.package = "libc6",
		.fn = both,
		.n = ARRAY_SIZE(both),
	};
	struct functions f = { NULL, NULL };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(library_load(&l, &f, &err), 0);
		assert_true(f.cos(0) == 1);
		assert_true(f.floor(2.5) == 2);
	}
}

static void not_installed(void **state)
{
	const struct library l = {
		.sonames = (const char *const[]){ "libnowhere.so.1", "libnowhere.so.0", NULL },
		.package = "libnowhere0",
		.fn = both,
		.n = ARRAY_SIZE(both),
	};
	struct functions f = { NULL, NULL };

	(void)state;
	assert_int_equal(library_load(&l, &f, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "libnowhere.so.0: "));
	assert_non_null(strstr(err.msg, "install the package libnowhere0"));
	assert_null(f.cos);
}

static void another_version(void **state)
{
	const struct library_fn one_too_many[] = { both[0], { "no_such_function", offsetof(struct functions, floor) } };
	const struct library l = {
		.sonames = (const char *const[]){ "libm.so.6", NULL },
		.package = "libc6",
		.fn = one_too_many,
		.n = ARRAY_SIZE(one_too_many),
	};
	struct functions f = { NULL, NULL };

	(void)state;
	assert_int_equal(library_load(&l, &f, &err), -ENOSYS);
	assert_non_null(strstr(err.msg, "no_such_function"));
	assert_non_null(strstr(err.msg, "libc6"));
	assert_null(f.cos);
	assert_null(f.floor);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_of_its_names),
		cmocka_unit_test(not_installed),
		cmocka_unit_test(another_version),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
