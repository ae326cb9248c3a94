/* SPDX-License-Identifier: BSD-2-Clause */
/* Taps from a helper program (helper=), by the protocol of qemu-bridge-helper(8). */
#ifndef BACKEND_TAP_HELPER_H
#define BACKEND_TAP_HELPER_H

#include "base/error.h"

/*
 * Run the helper, which makes a tap with a vnet header, puts it into the bridge `br` and passes it over a socket.
 * Without a space `helper` is the path of a program that is called with --use-vnet --fd=N --br=BR; with one it is a
 * command for /bin/sh, to which those are added. Returns the descriptor, the caller's, or -errno. Main thread; waits
 * for the program.
 */
int tap_helper_open(const char *helper, const char *br, struct error *err) __must_check;
/* The helper that is used if none is named; NULL: none is installed. */
const char *tap_helper_default(void);

#endif
