/* SPDX-License-Identifier: BSD-2-Clause */
/* AF_XDP sockets: the umem and the rings. */
#include "backend/xsk.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/open.h"

/* ---- rings ---- */

uint32_t xsk_ready(const struct xsk_ring *r)
{
	return __atomic_load_n(r->producer, __ATOMIC_ACQUIRE) - r->mine;
}

uint32_t xsk_room(const struct xsk_ring *r)
{
	return XSK_CHUNKS - (r->mine - __atomic_load_n(r->consumer, __ATOMIC_ACQUIRE));
}

struct xdp_desc *xsk_desc(const struct xsk_ring *r, uint32_t i)
{
	return (struct xdp_desc *)r->entries + ((r->mine + i) & (XSK_CHUNKS - 1));
}

uint64_t *xsk_addr(const struct xsk_ring *r, uint32_t i)
{
	return (uint64_t *)r->entries + ((r->mine + i) & (XSK_CHUNKS - 1));
}

void xsk_taken(struct xsk_ring *r, uint32_t n)
{
	r->mine += n;
	__atomic_store_n(r->consumer, r->mine, __ATOMIC_RELEASE);
}

void xsk_filled(struct xsk_ring *r, uint32_t n)
{
	r->mine += n;
	__atomic_store_n(r->producer, r->mine, __ATOMIC_RELEASE);
}

bool xsk_needs_wakeup(const struct xsk_ring *r)
{
	return __atomic_load_n(r->flags, __ATOMIC_RELAXED) & XDP_RING_NEED_WAKEUP;
}

static int map_ring(int fd, struct xsk_ring *r, const struct xdp_ring_offset *o, size_t entry, uint64_t page)
{
	uint8_t *p;

	r->map_size = o->desc + XSK_CHUNKS * entry;
	p = mmap(NULL, r->map_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, (off_t)page);
	if (p == MAP_FAILED)
		return -errno;
	r->map = p;
	r->producer = (uint32_t *)(p + o->producer);
	r->consumer = (uint32_t *)(p + o->consumer);
	r->flags = (uint32_t *)(p + o->flags);
	r->entries = p + o->desc;
	return 0;
}

static int map_rings(struct xsk *x)
{
	struct xdp_mmap_offsets o;
	socklen_t len = sizeof(o);
	int ret;

	if (getsockopt(x->fd, SOL_XDP, XDP_MMAP_OFFSETS, &o, &len) < 0)
		return -errno;
	if (len != sizeof(o)) /* kernels before 5.4 have rings without flags */
		return -EOPNOTSUPP;
	ret = map_ring(x->fd, &x->rx, &o.rx, sizeof(struct xdp_desc), XDP_PGOFF_RX_RING);
	ret = ret ?: map_ring(x->fd, &x->tx, &o.tx, sizeof(struct xdp_desc), XDP_PGOFF_TX_RING);
	ret = ret ?: map_ring(x->fd, &x->fill, &o.fr, sizeof(uint64_t), XDP_UMEM_PGOFF_FILL_RING);
	return ret ?: map_ring(x->fd, &x->comp, &o.cr, sizeof(uint64_t), XDP_UMEM_PGOFF_COMPLETION_RING);
}

/* ---- the socket ---- */

static int set(int fd, int option, const void *value, socklen_t size)
{
	return setsockopt(fd, SOL_XDP, option, value, size) < 0 ? -errno : 0;
}

static int register_umem(struct xsk *x)
{
	struct xdp_umem_reg reg = { .len = XSK_UMEM, .chunk_size = XSK_CHUNK };
	const int size = XSK_CHUNKS;
	int ret;

	reg.addr = (uintptr_t)x->umem;
	ret = set(x->fd, XDP_UMEM_REG, &reg, sizeof(reg));
	ret = ret ?: set(x->fd, XDP_UMEM_FILL_RING, &size, sizeof(size));
	ret = ret ?: set(x->fd, XDP_UMEM_COMPLETION_RING, &size, sizeof(size));
	ret = ret ?: set(x->fd, XDP_RX_RING, &size, sizeof(size));
	return ret ?: set(x->fd, XDP_TX_RING, &size, sizeof(size));
}

static int open_socket(void)
{
	const struct open_request r = {
		.kind = OPEN_SOCKET,
		.domain = AF_XDP,
		.type = SOCK_RAW,
		.nonblock = true,
	};

	return open_request(&r, NULL);
}

int xsk_open(struct xsk *x, int fd, struct error *err)
{
	int ret;

	*x = (struct xsk){ .fd = fd >= 0 ? fd : open_socket() };
	if (x->fd == -EPERM || x->fd == -EACCES)
		return fail(err, EPERM, "no permission for AF_XDP sockets; they need CAP_NET_RAW and CAP_NET_ADMIN");
	if (x->fd < 0)
		return fail(err, -x->fd, "this kernel has no AF_XDP sockets: %s", errno_str(x->fd));
	x->umem = mmap(NULL, XSK_UMEM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (x->umem == MAP_FAILED) {
		x->umem = NULL;
		return fail(err, ENOMEM, "no memory");
	}
	ret = register_umem(x);
	ret = ret ?: map_rings(x);
	if (ret == -ENOBUFS)
		return fail(err, ENOBUFS, "the limit of locked memory is below %llu MiB; raise it: ulimit -l",
			    XSK_UMEM / MIB);
	return ret ? fail(err, -ret, "no rings for an AF_XDP socket: %s", errno_str(ret)) : 0;
}

int xsk_bind(struct xsk *x, int ifindex, unsigned queue, unsigned flags)
{
	const struct sockaddr_xdp sa = {
		.sxdp_family = AF_XDP,
		.sxdp_flags = (uint16_t)flags,
		.sxdp_ifindex = (uint32_t)ifindex,
		.sxdp_queue_id = queue,
	};

	return bind(x->fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0 ? -errno : 0;
}

static void unmap(struct xsk_ring *r)
{
	if (r->map)
		munmap(r->map, r->map_size);
}

void xsk_close(struct xsk *x)
{
	unmap(&x->rx);
	unmap(&x->tx);
	unmap(&x->fill);
	unmap(&x->comp);
	if (x->fd >= 0)
		close(x->fd);
	if (x->umem)
		munmap(x->umem, XSK_UMEM);
	*x = (struct xsk){ .fd = -1 };
}
