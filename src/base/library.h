/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Libraries that only some option needs are loaded when it is given: each library that vwire is linked with, and each
 * that such a one brings along, costs every start of every VM, memory for as long as it runs, and code in its process.
 * tests/options/libraries.test names those that it is linked with all the same.
 */
#ifndef BASE_LIBRARY_H
#define BASE_LIBRARY_H

#include "base/error.h"
#include "base/util.h"

struct library_fn {
	const char *name;
	size_t at; /* where in the caller's table its address goes */
};

/* The table is a struct of `__typeof__(fn) *field;`. */
#define LIBRARY_FN(table, field, fn)        \
	{                                   \
#fn, offsetof(table, field) \
	}

struct library {
	const char *const *sonames; /* one ABI under the names that systems have for it; the last is NULL */
	const char *package;	    /* Debian's, for the error */
	const struct library_fn *fn;
	unsigned n;
};

/*
 * Load it, once and for good, and fill `table`. -ENOENT: not installed; -ENOSYS: it lacks a function. The table is
 * filled whole or not at all. Main thread; reads files.
 */
int library_load(const struct library *l, void *table, struct error *err) __must_check;

#endif
