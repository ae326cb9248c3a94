/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The iovec cursor. Every mover is a walk over chunks: the longest run of bytes that is whole in one piece. A chunk of
 * length 0 means the end.
 */
#include "base/iov.h"

size_t iov_size(const struct iovec *iov, size_t cnt)
{
	size_t sum = 0;

	for (size_t i = 0; i < cnt; i++)
		if (__builtin_add_overflow(sum, iov[i].iov_len, &sum))
			return SIZE_MAX;
	return sum;
}

size_t iov_left(const struct iov_cur *cur)
{
	size_t all = iov_size(cur->iov, cur->cnt);

	return all == SIZE_MAX ? all : all - cur->off;
}

/* The next chunk of at most `max` bytes, without passing it; skips exhausted and empty pieces. */
static inline size_t chunk(struct iov_cur *cur, size_t max, uint8_t **p)
{
	size_t n;

	while (cur->cnt && cur->off >= cur->iov->iov_len) {
		cur->iov++;
		cur->cnt--;
		cur->off = 0;
	}
	if (!cur->cnt)
		return 0;
	n = cur->iov->iov_len - cur->off;
	*p = (uint8_t *)cur->iov->iov_base + cur->off;
	return MIN(n, max);
}

size_t iov_get(struct iov_cur *cur, void *to, size_t n)
{
	size_t done = 0, len;
	uint8_t *p;

	while (done < n && (len = chunk(cur, n - done, &p))) {
		memcpy((uint8_t *)to + done, p, len);
		cur->off += len;
		done += len;
	}
	return done;
}

size_t iov_put(struct iov_cur *cur, const void *from, size_t n)
{
	size_t done = 0, len;
	uint8_t *p;

	while (done < n && (len = chunk(cur, n - done, &p))) {
		memcpy(p, (const uint8_t *)from + done, len);
		cur->off += len;
		done += len;
	}
	return done;
}

size_t iov_fill(struct iov_cur *cur, int c, size_t n)
{
	size_t done = 0, len;
	uint8_t *p;

	while (done < n && (len = chunk(cur, n - done, &p))) {
		memset(p, c, len);
		cur->off += len;
		done += len;
	}
	return done;
}

size_t iov_move(struct iov_cur *to, struct iov_cur *from, size_t n)
{
	size_t done = 0, len;
	uint8_t *src, *dst;

	while (done < n && (len = chunk(from, n - done, &src)) && (len = chunk(to, len, &dst))) {
		/* A guest may describe the same bytes on both sides. */
		memmove(dst, src, len);
		from->off += len;
		to->off += len;
		done += len;
	}
	return done;
}

size_t iov_skip(struct iov_cur *cur, size_t n)
{
	size_t done = 0, len;
	uint8_t *p;

	while (done < n && (len = chunk(cur, n - done, &p))) {
		cur->off += len;
		done += len;
	}
	return done;
}

size_t iov_read_at(const struct iovec *iov, size_t cnt, size_t off, void *to, size_t n)
{
	struct iov_cur cur = iov_cur(iov, cnt);

	return iov_skip(&cur, off) == off ? iov_get(&cur, to, n) : 0;
}

size_t iov_write_at(const struct iovec *iov, size_t cnt, size_t off, const void *from, size_t n)
{
	struct iov_cur cur = iov_cur(iov, cnt);

	return iov_skip(&cur, off) == off ? iov_put(&cur, from, n) : 0;
}

unsigned iov_refer(struct iov_cur *cur, size_t n, struct iovec *out, unsigned max)
{
	unsigned used = 0;
	size_t len;
	uint8_t *p;

	while (n && used < max && (len = chunk(cur, n, &p))) {
		out[used++] = (struct iovec){ p, len };
		cur->off += len;
		n -= len;
	}
	return used;
}
