/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The Internet checksum (RFC 1071) over plain and scattered bytes. Sums are 64-bit partial sums of 16-bit words in
 * memory order: a folded sum is stored as it is, without a byte swap.
 */
#ifndef BASE_CSUM_H
#define BASE_CSUM_H

#include "base/iov.h"

/* Add n bytes to a partial sum. Bytes start at an even offset of the summed data. */
uint64_t csum_add(uint64_t sum, const void *p, size_t n);

/* Add up to n bytes from the cursor, whatever the lengths of the pieces (odd ones too); the cursor advances. */
uint64_t csum_add_iov(uint64_t sum, struct iov_cur *cur, size_t n);

/* Fold to 16 bits, not complemented. The checksum field is ~csum_fold(sum). */
uint16_t csum_fold(uint64_t sum);

#endif
