/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The terminal of -serial stdio: raw while the guest has it, and as it was whatever ends the program (also a fatal
 * signal).
 */
#ifndef CHAR_TERMINAL_H
#define CHAR_TERMINAL_H

#include "base/error.h"

/* Make descriptor 0 raw if it is a terminal. Main thread. */
/* `signals`: Ctrl-c and the like still make them. */
int terminal_raw(bool signals, struct error *err);
/* As it was, if it was changed. Async-signal-safe, for fatal paths. */
void terminal_restore(void);

/*
 * Ctrl-a commands in what the user types. `escaped` is the state between calls; bytes for the guest are moved to the
 * front of buf and their number returned; Ctrl-a x calls quit(arg) and stops there.
 */
size_t terminal_filter(bool *escaped, uint8_t *buf, size_t n, void (*quit)(void *arg), void *arg);

#endif
