/* SPDX-License-Identifier: BSD-2-Clause */
/* -chardev file, pipe and null, for the table of types. */
#ifndef CHAR_CHAR_FILE_H
#define CHAR_CHAR_FILE_H

extern const struct chardev_type chardev_file, chardev_pipe, chardev_null;

#endif
