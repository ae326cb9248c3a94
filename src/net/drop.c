/* SPDX-License-Identifier: BSD-2-Clause */
/* Drop reasons: their names, and those that the kernel gives. */
#include "net/drop.h"

#include <errno.h>

#include "base/util.h"

const char *net_drop_name(enum net_drop d)
{
	static const char *const names[] = { [NET_OK] = "ok",
#define X(sym, name, meaning) [NET_DROP_##sym] = name,
					     NET_DROPS(X)
#undef X
	};

	return (unsigned)d < ARRAY_SIZE(names) ? names[d] : "?";
}

enum net_drop net_drop_of_errno(int code)
{
	switch (code) {
	case ENOBUFS:
	case ENOMEM:
		return NET_DROP_QUEUE_FULL;
	case EMSGSIZE:
		return NET_DROP_TOO_BIG;
	default:
		return NET_DROP_WIRE_REFUSED;
	}
}
