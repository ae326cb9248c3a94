/* SPDX-License-Identifier: BSD-2-Clause */
/* -chardev stdio, for the table of types. */
#ifndef CHAR_CHAR_STDIO_H
#define CHAR_CHAR_STDIO_H

#include "base/error.h"

extern const struct chardev_type chardev_stdio;

/*
 * Standard input and output are used by one thing: -EBUSY with a text if they are taken by another. `user` is a static
 * string or lives until stdio_release(). Main thread.
 */
int stdio_claim(const char *user, struct error *err) __must_check;
void stdio_release(void);
const char *stdio_user(void); /* or NULL */

#endif
