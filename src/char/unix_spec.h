/* SPDX-License-Identifier: BSD-2-Clause */
/* "PATH[,server=on|off][,wait=on|off]": the UNIX socket of -serial unix: and -qtest unix:. Main thread. */
#ifndef CHAR_UNIX_SPEC_H
#define CHAR_UNIX_SPEC_H

#include "base/error.h"

struct unix_spec {
	char *path; /* allocated */
	bool server, wait;
};

/* The caller frees with unix_spec_free(), also on an error. */
int unix_spec_parse(const char *text, struct unix_spec *s, struct error *err) __must_check;
void unix_spec_free(struct unix_spec *s);

/*
 * The listening socket of a server, which belongs with its file to the caller; else the connected socket. A file that a
 * dead server left is removed. Errors name no option.
 */
int unix_spec_open(const struct unix_spec *s, struct error *err) __must_check;

#endif
