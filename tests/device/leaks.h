/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a test has: descriptors, and bytes that were allocated (where the allocator says; a sanitizer's does not, and
 * finds leaks itself). Taken twice and compared it tells whether something that comes and goes leaves nothing.
 */
#ifndef TESTS_DEVICE_LEAKS_H
#define TESTS_DEVICE_LEAKS_H

#include <dirent.h>
#include <malloc.h>

struct leaks {
	unsigned fds;
	size_t bytes;
};

static inline struct leaks leaks_now(void)
{
	struct leaks l = { 0, mallinfo2().uordblks };
	DIR *d = opendir("/proc/self/fd");

	for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d))
		l.fds++;
	if (d)
		closedir(d);
	return l;
}

/* How much more there is now: 0 if nothing, or less. */
static inline size_t leaks_since(const struct leaks *before)
{
	struct leaks now = leaks_now();

	return (now.fds > before->fds ? now.fds - before->fds : 0) +
	       (now.bytes > before->bytes ? now.bytes - before->bytes : 0);
}

#endif
