/* SPDX-License-Identifier: BSD-2-Clause */
/* The control socket as vwire-user sees it (user/proto.h). vwire is not trusted: every message is checked. */
#ifndef USER_CONTROL_H
#define USER_CONTROL_H

#include "user/proto.h"

#define CONTROL_FDS 3

/*
 * Receive one request, without waiting if `wait` is false. 1: *m holds one of the right size and fds[] what came along
 * (-1 for none; too many are closed; the rest is the caller's to close); 0: nothing there; -1: the other end is gone or
 * speaks nonsense.
 */
int control_recv(struct user_msg *m, int fds[CONTROL_FDS], bool wait);

/* Answer the request in hand. code: 0 or an errno value. */
void control_reply(int code, const char *text, uint32_t layers, uint16_t port);

/* Hand a connection for guestfwd command `index` over; `fd` is closed. */
void control_spawn(uint32_t index, int fd);

/* A line for the log; at most 10 a second leave the process. */
void control_log(const char *fmt, ...) __printf(1, 2);

/* True if every string of the configuration ends within its field and the numbers make sense. */
bool control_config_ok(const struct user_config *c);

#endif
