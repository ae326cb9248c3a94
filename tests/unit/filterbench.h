/* SPDX-License-Identifier: BSD-2-Clause */
/* Filters for tests, made of their options, on a wire between two fakes (fake_net.h). */
#ifndef FILTERBENCH_H
#define FILTERBENCH_H

#include "../fake_net.h"
#include "net/filter.h"

/* A NIC "nic0" that lends and a backend "net0" that sends, joined, started and at rest. */
void make_wire(struct loop *loop, struct fake **nic, struct fake **back);

/* -object with these options; NULL with *err. */
struct filter *try_filter(const char *options, struct error *err);
/* ... that has to be made. */
struct filter *new_filter(const char *options);

/* The accounts of all clients balance. */
void check_accounts(void);

#endif
