/* SPDX-License-Identifier: BSD-2-Clause */
/* -chardev socket, for the table of types. */
#ifndef CHAR_CHAR_SOCKET_H
#define CHAR_CHAR_SOCKET_H

extern const struct chardev_type chardev_socket;

#endif
