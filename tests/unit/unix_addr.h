/* SPDX-License-Identifier: BSD-2-Clause */
/* The address of a UNIX socket, by the options that users have. */
#ifndef UNIX_ADDR_H
#define UNIX_ADDR_H

#include "base/addr.h"

static inline struct endpoint unix_addr(const char *path)
{
	const struct addr_opts o = { .type = "unix", .path = (char *)path, .tight = true };
	struct addr a = { .n = 0 };
	struct error err;

	if (addr_resolve(&o, "", 0, &a, &err) < 0)
		print_error("%s\n", err.msg);
	return a.e[0];
}

#endif
