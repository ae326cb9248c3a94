/* SPDX-License-Identifier: BSD-2-Clause */
/* -chardev pty, for the table of types. */
#ifndef CHAR_CHAR_PTY_H
#define CHAR_CHAR_PTY_H

extern const struct chardev_type chardev_pty;

#endif
