/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Errors for people. A function that can fail for a reason that a user must read takes a `struct error *` (may be
 * NULL) and returns 0 or -errno; the text is one line that names the option, the value, what is allowed and the
 * remedy. No allocation: the text lives in the caller's frame and is cut if it is too long.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include "base/util.h"

struct error {
	char msg[640];
};

/* Set the text and return -code, so that `return fail(err, EINVAL, "...")` is one statement. code > 0. */
int fail(struct error *err, int code, const char *fmt, ...) __printf(3, 4);

/* Put a prefix in front of the text that is there ("-netdev tap,id=n0: "). */
void error_prefix(struct error *err, const char *fmt, ...) __printf(2, 3);

/* The text of an errno value, without the locale; safe from any thread. */
const char *errno_str(int code);

#endif
