/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which queue of a tap a frame comes by.
 *
 * By itself the kernel lets a flow come by the queue that the guest sent its last frame by. A guest with receive-side
 * scaling says otherwise, by a hash and a table. So the kernel is given a program (tap_steer.bpf.c) that computes what the
 * NIC would, and the frame lies in the right queue from the beginning. The NIC looks all the same, and hands on what
 * came by another queue: nothing depends on the program but the time that this costs. So it may be missing (no right
 * to load one, no clang when vwire was built, an old kernel), late or wrong for a moment.
 *
 * Hash and table are in the program's map, which is mapped: to change them is to write memory. It is loaded, which
 * needs rights, only for a NIC that offers RSS, before anything runs, and given to the interface while a table is in
 * force.
 *
 * The kernel numbers the queues that are attached from 0 on: one that is attached becomes the last; where one is
 * detached the last one moves to its place. Our queues are attached when their pair becomes active, each by its own
 * loop, or when an interface that was deleted is there again. So `order` does as the kernel does, and the program
 * gets the place of each queue from it. That is right if both see changes in the same order: they are made under `lock`.
 * It is held for such calls alone, which the kernel makes wait for each other anyway (by the rtnl mutex). Queues that
 * another process attaches to the same interface are not known here.
 */
#include "backend/tap_steer.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend/bpf.h"
#include "backend/tap_steer_map.h"
#include "base/thread.h"
#include "base/util.h"

struct tap_steer {
	struct mutex lock; /* of all that follows */
	unsigned refs;

	unsigned ifindex; /* of the interface that `order` is of: tap_dev.ifindex */
	uint8_t order[TAP_QUEUES_MAX];
	unsigned n;

	struct tap_steer_map *map; /* NULL: not loaded */
	int prog;
	int error; /* why it could not be loaded, or given to the kernel */
	bool on;   /* a table is in force */
};

static int tell(int fd, int prog)
{
	return ioctl(fd, TUNSETSTEERINGEBPF, &prog) < 0 ? -errno : 0;
}

/* ---- loading ---- */

static int make_map(void)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.map_type = BPF_MAP_TYPE_ARRAY;
	a.key_size = sizeof(uint32_t);
	a.value_size = sizeof(struct tap_steer_map);
	a.max_entries = 1;
	a.map_flags = BPF_F_MMAPABLE;
	memcpy(a.map_name, "vwire", sizeof("vwire"));
	return bpf_call(BPF_MAP_CREATE, &a);
}

static int load(int map)
{
	size_t size = tap_steer_code_len * sizeof(struct bpf_insn);
	struct bpf_insn *code = malloc(size);
	int fd;

	if (!code)
		return -ENOMEM;
	memcpy(code, tap_steer_code, size);
	for (unsigned i = 0; i < tap_steer_code_len; i++) {
		if (code[i].code == (BPF_LD | BPF_IMM | BPF_DW) && code[i].src_reg == BPF_PSEUDO_MAP_VALUE)
			code[i].imm = map;
	}
	fd = bpf_load(BPF_PROG_TYPE_SOCKET_FILTER, code, tap_steer_code_len);
	free(code);
	return fd;
}

int tap_steer_program(struct tap_steer_map **map)
{
	int fd = tap_steer_code_len ? make_map() : -ENOSYS, prog;
	void *m;

	if (fd < 0)
		return fd;
	m = mmap(NULL, sizeof(**map), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	prog = m == MAP_FAILED ? -errno : load(fd);
	if (prog >= 0)
		*map = m;
	else if (m != MAP_FAILED)
		munmap(m, sizeof(**map));
	close(fd); /* the mapping and the program keep it */
	return prog;
}

static void show_order(struct tap_steer *s) REQUIRES(s->lock)
{
	for (unsigned i = 0; s->map && i < s->n; i++)
		WRITE_ONCE(s->map->place[s->order[i]], (uint8_t)i);
}

void tap_steer_load(struct tap_steer *s)
{
	mutex_lock(&s->lock);
	if (!s->map) {
		s->prog = tap_steer_program(&s->map);
		s->error = MIN(s->prog, 0);
		show_order(s);
	}
	mutex_unlock(&s->lock);
}

/* ---- the queues' order ---- */

static void forget(struct tap_steer *s, unsigned queue) REQUIRES(s->lock)
{
	for (unsigned i = 0; i < s->n; i++) {
		if (s->order[i] == queue)
			s->order[i] = s->order[--s->n];
	}
}

static void note(struct tap_steer *s, const struct tap_dev *d) REQUIRES(s->lock)
{
	forget(s, d->queue);
	if (!d->detached)
		s->order[s->n++] = d->queue;
	show_order(s);
}

int tap_steer_change(struct tap_dev *d, int (*change)(struct tap_dev *d))
{
	struct tap_steer *s = d->steer;
	int ret;

	mutex_lock(&s->lock);
	ret = change(d);
	if (!ret && d->ifindex == s->ifindex) /* else its interface is gone, and others are at a new one */
		note(s, d);
	mutex_unlock(&s->lock);
	return ret;
}

int tap_steer_reattach(struct tap_dev *d, int (*reattach)(struct tap_dev *d))
{
	struct tap_steer *s = d->steer;
	int ret;

	mutex_lock(&s->lock);
	ret = reattach(d);
	if (!ret) {
		if (d->ifindex != s->ifindex)
			s->n = 0;
		s->ifindex = d->ifindex;
		note(s, d);
		if (s->map)
			s->error = s->on ? tell(d->fd, s->prog) : 0;
	}
	mutex_unlock(&s->lock);
	return ret;
}

/* ---- steering ---- */

/* In the slot that is not in force; then it is. */
static void write_slot(struct tap_steer_map *m, const struct rss_hash *hash, const struct rss_table *table)
{
	uint32_t slot = !m->slot;

	m->slots[slot].hash = *hash;
	m->slots[slot].table = *table;
	__atomic_store_n(&m->slot, slot, __ATOMIC_RELEASE);
}

static int set(struct tap_steer *s, int fd, const struct rss_hash *hash, const struct rss_table *table)
	REQUIRES(s->lock)
{
	bool was = s->on;

	if (!s->map)
		return s->error ?: -ENOSYS;
	s->on = table;
	if (table)
		write_slot(s->map, hash, table);
	if (s->on != was)
		s->error = tell(fd, s->on ? s->prog : -1);
	if (s->error == -EBADFD) /* it will be told when there is an interface again */
		s->error = 0;
	return s->error;
}

int tap_steer_set(struct tap_dev *d, const struct rss_hash *hash, const struct rss_table *table)
{
	struct tap_steer *s = d->steer;
	int ret;

	mutex_lock(&s->lock);
	ret = set(s, d->fd, hash, table);
	mutex_unlock(&s->lock);
	return ret;
}

const char *tap_steer_state(struct tap_steer *s)
{
	const char *state;

	mutex_lock(&s->lock);
	if (s->error)
		state = s->error == -ENOSYS && !tap_steer_code_len ? "not built in" : errno_str(-s->error);
	else
		state = s->on ? "steering" : s->map ? "loaded" : "unused";
	mutex_unlock(&s->lock);
	return state;
}

/* ---- life ---- */

int tap_steer_join(struct tap_dev *queues, unsigned n)
{
	struct tap_steer *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	mutex_init(&s->lock);
	s->prog = -1;
	s->refs = n;
	for (unsigned i = 0; i < n; i++) {
		queues[i].steer = s;
		queues[i].queue = (uint8_t)i;
	}
	tell(queues[0].fd, -1); /* an interface that outlived a vwire which was killed may have its program still */
	return 0;
}

static void destroy(struct tap_steer *s)
{
	if (s->map)
		munmap(s->map, sizeof(*s->map));
	if (s->prog >= 0)
		close(s->prog);
	mutex_destroy(&s->lock);
	free(s);
}

void tap_steer_leave(struct tap_dev *d)
{
	struct tap_steer *s = d->steer;
	bool last;

	if (!s)
		return;
	mutex_lock(&s->lock);
	if (s->on)
		tell(d->fd, -1);
	s->on = false;
	forget(s, d->queue);
	show_order(s);
	last = --s->refs == 0;
	mutex_unlock(&s->lock);
	if (last)
		destroy(s);
	d->steer = NULL;
}
