/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * To be preloaded: writes where each readv() and writev() of the program that moved bytes was called from, as lines of
 * "readv ADDRESS..." with the innermost caller first, relative to the program, to the file $CALL_DEPTH.
 */
#include <dlfcn.h>
#include <execinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#define CALLERS 32

typedef ssize_t vector_call(int fd, const struct iovec *v, int n);

static void note(const char *call)
{
	static FILE *out;
	void *at[CALLERS];
	int n = backtrace(at, CALLERS);
	Dl_info first, where;

	if (!out && !(out = fopen(getenv("CALL_DEPTH"), "a")))
		abort();
	fputs(call, out);
	/* at[0] and at[1] are here, or at[1] was inlined: what counts is who is not of this library. */
	dladdr((void *)(size_t)note, &first);
	for (int i = 1; i < n; i++)
		if (dladdr(at[i], &where) && where.dli_fbase != first.dli_fbase)
			fprintf(out, " %zx", (size_t)at[i] - (size_t)where.dli_fbase);
	fputc('\n', out);
	fflush(out);
}

static ssize_t through(const char *call, int fd, const struct iovec *v, int n)
{
	void *real = dlsym(RTLD_NEXT, call);
	vector_call *fn;
	ssize_t r;

	memcpy(&fn, &real, sizeof(fn));
	r = fn(fd, v, n);
	if (r > 0)
		note(call);
	return r;
}

ssize_t readv(int fd, const struct iovec *v, int n)
{
	return through("readv", fd, v, n);
}

ssize_t writev(int fd, const struct iovec *v, int n)
{
	return through("writev", fd, v, n);
}
