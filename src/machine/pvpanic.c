/* SPDX-License-Identifier: BSD-2-Clause */
/* See the header. */
#include "machine/pvpanic.h"

#include "base/log.h"

#define PANICKED     0x01
#define CRASH_LOADED 0x02 /* it panicked, and its own crash kernel takes over */

static uint64_t pvpanic_read(void *opaque, uint64_t off, unsigned size)
{
	(void)opaque;
	(void)off;
	(void)size;
	return PANICKED | CRASH_LOADED;
}

static void pvpanic_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	struct pvpanic *p = opaque;

	(void)off;
	(void)size;
	if (value & CRASH_LOADED)
		log_limited(LOG_WARN, "the guest's kernel panicked; its crash kernel takes over");
	else if (value & PANICKED)
		p->panicked(p->opaque);
}

static const struct region_ops pvpanic_ops = { .read = pvpanic_read, .write = pvpanic_write, .min = 1, .max = 1 };

void pvpanic_init(struct pvpanic *p, void (*panicked)(void *opaque), void *opaque)
{
	p->panicked = panicked;
	p->opaque = opaque;
	p->region = (struct region){
		.name = "pvpanic", .size = 1, .ops = &pvpanic_ops, .opaque = p, .policy = REGION_NONE
	};
}
