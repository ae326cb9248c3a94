/* SPDX-License-Identifier: BSD-2-Clause */
/* Option lists that are made or changed by the program: -nic becomes a -netdev and a -device. Main thread. */
#ifndef CTL_PAIRS_H
#define CTL_PAIRS_H

#include "base/opts.h"

/* The last value of a key that nobody took yet, left in place; NULL if it is not there. Belongs to the list. */
const char *pair_peek(const struct opt_list *l, const char *key);

/* Append key=value; at the front so that what the user wrote wins over it. -ENOMEM with err. */
int pair_add(struct opt_list *l, const char *key, const char *value, struct error *err) __must_check;
int pair_add_front(struct opt_list *l, const char *key, const char *value, struct error *err) __must_check;

/* Append all pairs of `from` that nobody took, taking them. */
int pair_move_rest(struct opt_list *from, struct opt_list *to, struct error *err) __must_check;

#endif
