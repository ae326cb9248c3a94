/* SPDX-License-Identifier: BSD-2-Clause */
/* Guest RAM: anonymous memory or a memfd, each block between two inaccessible pages; copies for slow paths. */
#include "mem/ram.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE	  4096ULL
#define HUGE_PAGE (2 * MIB)

static int check_blocks(const struct ram_block *b, unsigned n, struct error *err)
{
	uint64_t end = 0;

	if (!n || n > RAM_BLOCKS_MAX)
		return fail(err, EINVAL, "guest RAM of %u blocks: between 1 and %d are possible", n, RAM_BLOCKS_MAX);
	for (unsigned i = 0; i < n; i++) {
		bool fits = b[i].size && !(b[i].gpa % PAGE) && !(b[i].size % PAGE) && b[i].gpa >= end &&
			    b[i].size <= INT64_MAX && b[i].gpa <= INT64_MAX - b[i].size;

		if (!fits)
			return fail(err, EINVAL,
				    "guest RAM block 0x%" PRIx64 "+0x%" PRIx64 " overlaps or is no multiple of pages",
				    b[i].gpa, b[i].size);
		end = b[i].gpa + b[i].size;
	}
	return 0;
}

static int ram_open(struct ram *r, uint64_t size, struct error *err)
{
	r->fd = memfd_create("guest-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (r->fd < 0)
		return fail(err, errno, "cannot make a memory file for guest RAM: %s", errno_str(errno));
	/* Others map the file (vhost-user): if it could shrink, their and our accesses would end in SIGBUS. */
	if (ftruncate(r->fd, (off_t)size) || fcntl(r->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return fail(err, errno, "cannot make guest RAM of %llu MiB: %s; give a smaller -m", size / MIB,
			    errno_str(errno));
	return 0;
}

/* What a block needs beside its contents. */
static int advise(const struct ram_block *b, struct error *err)
{
	/* Hints; a kernel without them works as well. */
	madvise(b->host, b->size, MADV_HUGEPAGE);
	/* The start of a PC's memory is boot tables and holes: too little to clear and give a huge page for it. */
	if (!b->gpa)
		madvise(b->host, MIN(b->size, HUGE_PAGE), MADV_NOHUGEPAGE);
	madvise(b->host, b->size, MADV_DONTDUMP);
	/* A promise: scripts and helpers never see it, and a fork copies no page tables of it. */
	if (madvise(b->host, b->size, MADV_DONTFORK))
		return fail(err, errno, "cannot keep guest RAM out of child processes: %s", errno_str(errno));
	return 0;
}

/*
 * Reserve room for the block, a page around it, and what it takes to have host and guest address agree modulo a huge
 * page, so that KVM can map huge pages. What is reserved beside the block stays as its guard.
 */
static int map_block(struct ram *r, struct ram_block *b, struct error *err)
{
	/* Whether there is that much memory the host's own rules decide; a memfd is only accounted for page by page. */
	int flags = MAP_FIXED | (r->fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED | MAP_NORESERVE);
	uint64_t room = b->size + 2 * PAGE + HUGE_PAGE;
	uint8_t *area = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), *host;

	if (area == MAP_FAILED)
		return fail(err, errno, "no address space for %llu MiB of guest RAM: %s; give a smaller -m",
			    b->size / MIB, errno_str(errno));
	host = area + PAGE;
	host += (b->gpa - (uintptr_t)host) % HUGE_PAGE;
	if (mmap(host, b->size, PROT_READ | PROT_WRITE, flags, r->fd, (off_t)b->fd_offset) == MAP_FAILED) {
		int code = errno;

		munmap(area, room);
		return fail(err, code, "cannot map %llu MiB of guest RAM: %s; give a smaller -m", b->size / MIB,
			    errno_str(code));
	}
	if (host > area + PAGE)
		munmap(area, (size_t)(host - PAGE - area));
	if (area + room > host + b->size + PAGE)
		munmap(host + b->size + PAGE, (size_t)(area + room - (host + b->size + PAGE)));
	b->host = host;
	return 0;
}

int ram_init(struct ram *r, const struct ram_block *blocks, unsigned n, enum ram_backing backing, struct error *err)
{
	uint64_t size = 0;
	int ret;

	*r = (struct ram){ .fd = -1 };
	ret = check_blocks(blocks, n, err);
	if (ret)
		return ret;
	for (unsigned i = 0; i < n; i++) {
		r->block[i] = (struct ram_block){ .gpa = blocks[i].gpa, .size = blocks[i].size, .fd_offset = size };
		size += blocks[i].size;
	}
	if (backing == RAM_SHARED)
		ret = ram_open(r, size, err);
	while (!ret && r->n < n) {
		ret = map_block(r, &r->block[r->n], err);
		if (!ret)
			ret = advise(&r->block[r->n++], err);
	}
	if (ret)
		ram_destroy(r);
	return ret;
}

void ram_destroy(struct ram *r)
{
	dirty_log_stop(r);
	for (unsigned i = 0; i < r->n; i++)
		munmap(r->block[i].host - PAGE, r->block[i].size + 2 * PAGE);
	r->n = 0;
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
}

int dma_read(const struct dma *d, uint64_t gpa, void *to, uint64_t len)
{
	const void *p = dma_ptr(d, gpa, len);

	if (!p)
		return -EFAULT;
	memcpy(to, p, len);
	return 0;
}

int dma_write(const struct dma *d, uint64_t gpa, const void *from, uint64_t len)
{
	void *p = dma_ptr(d, gpa, len);

	if (!p)
		return -EFAULT;
	memcpy(p, from, len);
	dma_dirty(d, gpa, len);
	return 0;
}
