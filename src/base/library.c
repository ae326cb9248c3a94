/* SPDX-License-Identifier: BSD-2-Clause */
/* Libraries on demand; see the header. */
#include "base/library.h"

#include <dlfcn.h>
#include <errno.h>

#define FUNCTIONS_MAX 16

static void *open_any(const struct library *l, struct error *err)
{
	void *handle = NULL;

	for (const char *const *name = l->sonames; *name && !handle; name++)
		handle = dlopen(*name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	/* The last name's error stands for all: they differ in the name only. */
	if (!handle)
		fail(err, ENOENT, "%s; install the package %s", dlerror(), l->package);
	return handle;
}

int library_load(const struct library *l, void *table, struct error *err)
{
	void *found[FUNCTIONS_MAX], *handle;

	if (l->n > FUNCTIONS_MAX)
		return fail(err, E2BIG, "%s: more than %d functions", l->package, FUNCTIONS_MAX);
	handle = open_any(l, err);
	if (!handle)
		return -ENOENT;
	for (unsigned i = 0; i < l->n; i++) {
		found[i] = dlsym(handle, l->fn[i].name);
		if (!found[i])
			return fail(err, ENOSYS, "%s; the package %s is another version than the one wanted", dlerror(),
				    l->package);
	}
	for (unsigned i = 0; i < l->n; i++)
		memcpy((char *)table + l->fn[i].at, &found[i], sizeof(found[i]));
	return 0;
}
