/* SPDX-License-Identifier: BSD-2-Clause */
/* Names of drop reasons. */
#include "net/drop.h"

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
