/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * guestfwd: the guest's connections to commands and character devices, both of them vwire's, without a UNIX socket that
 * could be connected to anything else.
 *
 * For a rule of slirp_add_unix() libslirp makes a UNIX stream socket for each connection of the guest and connects it
 * to the rule's path. To let it do so would be to allow UNIX sockets, and no filter of system calls sees where one is
 * connected to: all abstract sockets of the host's network namespace, and services stand behind many of them, would be
 * within reach of whoever takes vwire-user over. Neither Landlock (before Linux 6.12) nor another namespace helps, as
 * the network namespace is the host's on purpose.
 *
 * So the two calls are answered here. This program defines socket() and connect() itself, and its definitions come
 * before the C library's for every library it uses (System V ABI, dynamic linking: the executable is searched first). A
 * UNIX socket is then one end of a pair, and to connect it hands the other end over. socketpair(2) with stream sockets
 * is all that the filter (filter.h) has to allow: such an end is connected for good, and cannot listen. What remains is
 * that bind(2) may give it a name in the abstract name space, where nobody can reach it but where the name is taken.
 */
#ifndef USER_GUESTFWD_H
#define USER_GUESTFWD_H

#include <stddef.h>

/* The path by which libslirp is to know rule n. */
void guestfwd_path(char *path, size_t size, unsigned n);

/* fn(opaque, n, fd) takes the other end of each connection to rule n, of `rules`; it owns fd. */
void guestfwd_accept(unsigned rules, void (*fn)(void *opaque, unsigned n, int fd), void *opaque);

#endif
