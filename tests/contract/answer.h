/* SPDX-License-Identifier: BSD-2-Clause */
/* What the guest of a NIC under the contract says to ARP and ping: it is 10.0.2.2, 52:54:00:aa:bb:cc. */
#ifndef ANSWER_H
#define ANSWER_H

#include <stdbool.h>
#include <stdint.h>

#define ANSWER_MAC "52:54:00:aa:bb:cc"

/*
 * Make an answer of the frame in place; returns its length, 0: there is none to give. *sum_left: the ICMP checksum,
 * from 34 on, two bytes at 36, is zero and left to the device; only if `may_leave`, and then every other time.
 */
uint32_t answer(uint8_t *p, uint32_t len, bool may_leave, bool *sum_left);

#endif
