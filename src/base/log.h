/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages to the person who runs vwire: one line each on stderr, "vwire: warning: ...". Callable from any thread.
 * What a guest or a peer can cause goes through log_limited(): at most 10 lines a second for all of them together,
 * what was suppressed is counted and said.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/util.h"

enum log_level {
	LOG_ERR,
	LOG_WARN,
	LOG_INFO,
	LOG_DEBUG
};

/* The program's name in front of each line, and the least important level that is printed (default LOG_INFO). */
void log_init(const char *program, enum log_level max);

void log_msg(enum log_level level, const char *fmt, ...) __printf(2, 3);
void log_limited(enum log_level level, const char *fmt, ...) __printf(2, 3);

#define log_err(...)   log_msg(LOG_ERR, __VA_ARGS__)
#define log_warn(...)  log_msg(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_msg(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_msg(LOG_DEBUG, __VA_ARGS__)

#endif
