/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A cursor over somebody else's iovec array: the one way in which this program reads or writes scattered bytes.
 * The cursor never writes outside the pieces it was given and says how many bytes it moved; pieces of zero length are
 * skipped. Peeling a header copies it (guest memory may change): what was copied is what is judged and used.
 */
#ifndef BASE_IOV_H
#define BASE_IOV_H

#include <sys/uio.h>

#include "base/util.h"

struct iov_cur {
	const struct iovec *iov; /* the piece that the cursor stands in */
	size_t cnt;		 /* pieces left, that one included */
	size_t off;		 /* offset in it */
};

static inline struct iov_cur iov_cur(const struct iovec *iov, size_t cnt)
{
	return (struct iov_cur){ iov, cnt, 0 };
}

/* Bytes in all pieces. Saturates at SIZE_MAX. */
size_t iov_size(const struct iovec *iov, size_t cnt);

/* Bytes from the cursor to the end. */
size_t iov_left(const struct iov_cur *cur);

/* Copy out of, or into, the pieces and advance; return the bytes moved (less than n only at the end). */
size_t iov_get(struct iov_cur *cur, void *to, size_t n);
size_t iov_put(struct iov_cur *cur, const void *from, size_t n);

/* Write n bytes of value c; copy n bytes from one cursor to another; advance by n. Return the bytes moved. */
size_t iov_fill(struct iov_cur *cur, int c, size_t n);
size_t iov_move(struct iov_cur *to, struct iov_cur *from, size_t n);
size_t iov_skip(struct iov_cur *cur, size_t n);

/* Copy without a cursor of one's own: n bytes at offset off. Return the bytes moved. */
size_t iov_read_at(const struct iovec *iov, size_t cnt, size_t off, void *to, size_t n);
size_t iov_write_at(const struct iovec *iov, size_t cnt, size_t off, const void *from, size_t n);

/*
 * Describe the next n bytes in out[max], without copying, and advance past what was described. Returns the pieces used;
 * they hold fewer than n bytes only at the end, or where max is too small.
 */
unsigned iov_refer(struct iov_cur *cur, size_t n, struct iovec *out, unsigned max);

#endif
