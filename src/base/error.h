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

/* Set the text, which may be made of the old one. */
void error_set(struct error *err, const char *fmt, ...) __printf(2, 3);

/*
 * Set the text and be -code, so that `return fail(err, EINVAL, "...")` is one statement. code > 0. (A macro, so that
 * who reads the code by machine sees that it is not 0.)
 */
#define fail(err, code, ...)                 \
	({                                   \
		const int code_ = (code);    \
		error_set(err, __VA_ARGS__); \
		-code_;                      \
	})

/* Put a prefix in front of the text that is there ("-netdev tap,id=n0: "). */
void error_prefix(struct error *err, const char *fmt, ...) __printf(2, 3);

/* The text of an errno value, without the locale; safe from any thread. */
const char *errno_str(int code);

#endif
