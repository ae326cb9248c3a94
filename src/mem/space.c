/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Theory. What is mapped is a list of mappings (region, base, priority), guarded by the space's mutex. A commit
 * flattens it into a new map: sorted ranges that do not overlap, and beside them the doorbells that are visible in it.
 * The map is published by one exchange and the old one retired; nobody who reads ever sees a half of each.
 *
 * Doorbells that went are unbound before the exchange, new ones bound after it. A write that comes in between reaches
 * space_write(), which signals the eventfd itself: no kick is lost. So does every write that reaches it although its
 * doorbell is bound, because it can only have been under way meanwhile; a kick too many does no harm.
 */
#include "mem/space.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/sched.h"

/* Addresses [start, last] show what is at `offset` of the region. */
struct range {
	uint64_t start, last;
	uint64_t offset;
	struct region *region;
};

struct bell {
	uint64_t addr;
	struct doorbell d;
	bool bound; /* the accelerator has it */
};

struct map {
	struct retired retired;
	struct range *range; /* sorted */
	unsigned n_ranges;
	struct bell *bell; /* sorted by address */
	unsigned n_bells;
};

struct mapping {
	struct list node; /* in the order of mapping */
	struct region *region;
	uint64_t base;
	int priority;
};

struct space {
	const char *name;
	uint64_t size;
	bool pio;
	struct map *_Atomic map;

	struct mutex lock; /* held from the outermost begin to its commit */
	_Atomic uintptr_t owner;
	unsigned depth;
	struct list mappings;
	const struct doorbell_ops *ops;
	void *ops_opaque;
};

/* What is shown when there is no memory for a map: nothing. */
static struct map nothing;

/* ---- life ---- */

struct space *space_new(const char *name, uint64_t size, bool pio)
{
	struct space *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->name = name;
	s->size = size;
	s->pio = pio;
	mutex_init(&s->lock);
	list_init(&s->mappings);
	atomic_init(&s->map, &nothing);
	return s;
}

static void map_free(struct map *m)
{
	if (m == &nothing)
		return;
	free(m->range);
	free(m->bell);
	free(m);
}

static void map_retired(struct retired *r)
{
	map_free(container_of(r, struct map, retired));
}

static void unbind(struct space *s, struct bell *b)
{
	if (b->bound)
		s->ops->unbind(s->ops_opaque, s->pio, b->addr, &b->d);
	b->bound = false;
}

void space_free(struct space *s)
{
	struct mapping *mp, *next;
	struct map *m;

	if (!s)
		return;
	m = atomic_load(&s->map);
	for (unsigned i = 0; i < m->n_bells; i++)
		unbind(s, &m->bell[i]);
	map_free(m);
	list_for_each_safe(mp, next, &s->mappings, node)
		free(mp);
	mutex_destroy(&s->lock);
	free(s);
}

/* ---- flattening ---- */

static int by_start(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

/*
 * Add the parts of [start, last] that nothing covers yet. The ranges are in no order while this goes on; each covering
 * range cuts the part in two, of which the lower one is final when all ranges have been looked at.
 */
static void add_uncovered(struct map *m, const struct mapping *mp)
{
	uint64_t start = mp->base, end = mp->base + mp->region->size - 1;

	for (;;) {
		const struct range *cover = NULL;
		uint64_t last = end;

		/* The nearest range that ends at or behind `start`. */
		for (unsigned i = 0; i < m->n_ranges; i++) {
			const struct range *r = &m->range[i];

			if (r->last >= start && r->start <= end && (!cover || r->start < cover->start))
				cover = r;
		}
		if (cover && cover->start > start)
			last = cover->start - 1;
		if (!cover || cover->start > start)
			m->range[m->n_ranges++] = (struct range){ start, last, start - mp->base, mp->region };
		/* The array grew at its end only: `cover` still stands. */
		if (!cover || cover->last >= end)
			return;
		start = cover->last + 1;
	}
}

/* Mappings in the order in which they win: by priority, then by age. */
static unsigned sort_mappings(struct space *s, const struct mapping **v)
{
	const struct mapping *mp;
	unsigned n = 0;

	list_for_each(mp, &s->mappings, node) {
		unsigned i = n++;

		for (; i && v[i - 1]->priority < mp->priority; i--)
			v[i] = v[i - 1];
		v[i] = mp;
	}
	return n;
}

static const struct range *map_find(const struct map *m, uint64_t addr)
{
	unsigned lo = 0, hi = m->n_ranges;

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;

		if (addr > m->range[mid].last)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < m->n_ranges && addr >= m->range[lo].start ? &m->range[lo] : NULL;
}

/* ---- doorbells ---- */

static int by_addr(const void *a, const void *b)
{
	const struct bell *x = a, *y = b;

	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

/* The doorbells of a mapping that are in use and visible, all of their width. */
static void add_bells(struct map *m, const struct mapping *mp)
{
	for (unsigned i = 0; i < mp->region->n_bells; i++) {
		const struct doorbell *d = &mp->region->bells[i];
		uint64_t width = d->width ? d->width : 1, addr = mp->base + d->offset;
		const struct range *r;

		if (d->fd < 0 || !range_within(d->offset, width, mp->region->size))
			continue;
		r = map_find(m, addr);
		if (r && r->region == mp->region && addr + width - 1 <= r->last)
			m->bell[m->n_bells++] = (struct bell){ addr, *d, false };
	}
}

static bool same_bell(const struct bell *a, const struct bell *b)
{
	return a->addr == b->addr && a->d.fd == b->d.fd && a->d.width == b->d.width && a->d.match == b->d.match &&
	       (!a->d.match || a->d.value == b->d.value);
}

/* The first doorbell at or behind an address. */
static unsigned bell_index(const struct map *m, uint64_t addr)
{
	unsigned lo = 0, hi = m->n_bells;

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;

		if (m->bell[mid].addr < addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct bell *same_bell_in(const struct map *m, const struct bell *b)
{
	for (unsigned i = bell_index(m, b->addr); i < m->n_bells && m->bell[i].addr == b->addr; i++)
		if (same_bell(&m->bell[i], b))
			return &m->bell[i];
	return NULL;
}

/* Unbind what the new map lacks; what it has too goes on as it is. */
static void bells_go(struct space *s, struct map *old, struct map *new)
{
	for (unsigned i = 0; i < old->n_bells; i++) {
		struct bell *b = &old->bell[i], *kept = same_bell_in(new, b);

		if (kept && !kept->bound)
			kept->bound = b->bound;
		else
			unbind(s, b);
	}
}

static void bells_come(struct space *s, struct map *new)
{
	for (unsigned i = 0; s->ops && i < new->n_bells; i++) {
		struct bell *b = &new->bell[i];

		if (!b->bound)
			b->bound = !s->ops->bind(s->ops_opaque, s->pio, b->addr, &b->d);
	}
}

/* ---- changes ---- */

static struct map *map_alloc(unsigned mappings, unsigned bells)
{
	struct map *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	/* Each mapping can show in one piece more than there are mappings above it to cut it. */
	m->range = calloc(2 * (size_t)mappings + 1, sizeof(*m->range));
	m->bell = calloc((size_t)bells + 1, sizeof(*m->bell));
	if (m->range && m->bell)
		return m;
	map_free(m);
	return NULL;
}

static void map_fill(struct map *m, const struct mapping **v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		add_uncovered(m, v[i]);
	qsort(m->range, m->n_ranges, sizeof(*m->range), by_start);
	for (unsigned i = 0; i < n; i++)
		add_bells(m, v[i]);
	qsort(m->bell, m->n_bells, sizeof(*m->bell), by_addr);
}

static struct map *map_build(struct space *s)
{
	const struct mapping **v, *mp;
	unsigned n = 0, bells = 0;
	struct map *m;

	list_for_each(mp, &s->mappings, node) {
		n++;
		bells += mp->region->n_bells;
	}
	v = calloc(n + 1, sizeof(struct mapping *));
	m = v ? map_alloc(n, bells) : NULL;
	if (m) {
		map_fill(m, v, sort_mappings(s, v));
	} else {
		log_err("out of memory: no device is reachable in the %s space", s->name);
		m = &nothing;
	}
	free(v);
	return m;
}

static void publish(struct space *s)
{
	struct map *old = atomic_load(&s->map), *new = map_build(s);

	bells_go(s, old, new);
	SCHED_POINT();
	atomic_exchange(&s->map, new);
	bells_come(s, new);
	if (old != &nothing)
		epoch_retire(&old->retired, map_retired);
}

void space_begin(struct space *s) NO_THREAD_SAFETY
{
	/* Nobody else writes our own thread's name there. */
	if (atomic_load_explicit(&s->owner, memory_order_relaxed) != sys_thread()) {
		mutex_lock(&s->lock);
		atomic_store_explicit(&s->owner, sys_thread(), memory_order_relaxed);
	}
	s->depth++;
}

void space_commit(struct space *s) NO_THREAD_SAFETY
{
	if (--s->depth)
		return;
	publish(s);
	atomic_store_explicit(&s->owner, 0, memory_order_relaxed);
	mutex_unlock(&s->lock);
}

static struct mapping *mapping_of(struct space *s, const struct region *r)
{
	struct mapping *mp;

	list_for_each(mp, &s->mappings, node)
		if (mp->region == r)
			return mp;
	return NULL;
}

static int add_mapping(struct space *s, struct region *r, uint64_t base, int priority)
{
	struct mapping *mp;

	if (!r->size || !range_within(base, r->size, s->size) || mapping_of(s, r))
		return -EINVAL;
	mp = calloc(1, sizeof(*mp));
	if (!mp)
		return -ENOMEM;
	mp->region = r;
	mp->base = base;
	mp->priority = priority;
	list_append(&s->mappings, &mp->node);
	return 0;
}

int space_map(struct space *s, struct region *r, uint64_t base, int priority)
{
	int ret;

	space_begin(s);
	ret = add_mapping(s, r, base, priority);
	space_commit(s);
	return ret;
}

void space_unmap(struct space *s, struct region *r)
{
	struct mapping *mp;

	space_begin(s);
	mp = mapping_of(s, r);
	if (mp) {
		list_remove(&mp->node);
		free(mp);
	}
	space_commit(s);
}

void space_doorbells_changed(struct space *s, struct region *r)
{
	(void)r;
	space_begin(s);
	space_commit(s);
}

void space_set_doorbell_ops(struct space *s, const struct doorbell_ops *ops, void *opaque)
{
	struct map *m;

	space_begin(s);
	m = atomic_load(&s->map);
	for (unsigned i = 0; i < m->n_bells; i++)
		unbind(s, &m->bell[i]);
	s->ops = ops;
	s->ops_opaque = opaque;
	space_commit(s);
}

/* ---- accesses ---- */

static uint64_t size_mask(unsigned size)
{
	return size < 8 ? BIT(8 * size) - 1 : UINT64_MAX;
}

/* Does an access fit the range and the region's rule? If not it is counted. */
static bool admit(const struct range *r, uint64_t addr, unsigned size)
{
	const struct region_ops *ops = r->region->ops;
	uint64_t off = addr - r->start + r->offset;

	if (r->last - addr >= size - 1 && size >= ops->min && (ops->unaligned || !(off & (size - 1))))
		return true;
	counter_add_shared(&r->region->refused, 1);
	return false;
}

static void region_lock(struct region *r) NO_THREAD_SAFETY
{
	if (r->policy == REGION_DEVICE)
		mutex_lock(r->lock);
}

static void region_unlock(struct region *r) NO_THREAD_SAFETY
{
	if (r->policy == REGION_DEVICE)
		mutex_unlock(r->lock);
}

static uint64_t region_read(struct region *r, uint64_t off, unsigned size)
{
	unsigned step = MIN(size, (unsigned)r->ops->max);
	uint64_t value = 0;

	region_lock(r);
	for (unsigned done = 0; done < size; done += step)
		value |= (r->ops->read(r->opaque, off + done, step) & size_mask(step)) << 8 * done;
	region_unlock(r);
	return value;
}

static void region_write(struct region *r, uint64_t off, uint64_t value, unsigned size)
{
	unsigned step = MIN(size, (unsigned)r->ops->max);

	region_lock(r);
	for (unsigned done = 0; done < size; done += step)
		r->ops->write(r->opaque, off + done, value >> 8 * done & size_mask(step), step);
	region_unlock(r);
}

bool space_read(struct space *s, uint64_t addr, unsigned size, uint64_t *value)
{
	const struct map *m;
	const struct range *r;

	SCHED_POINT();
	m = atomic_load(&s->map);
	SCHED_POINT();
	r = map_find(m, addr);
	*value = size_mask(size);
	if (!r)
		return false;
	if (!admit(r, addr, size))
		return true;
	if (r->region->ops->read)
		*value = region_read(r->region, addr - r->start + r->offset, size);
	else
		counter_add_shared(&r->region->refused, 1);
	return true;
}

/* Signal the doorbell that a write hits, if there is one. */
static bool ring(const struct map *m, uint64_t addr, unsigned size, uint64_t value)
{
	for (unsigned i = bell_index(m, addr); i < m->n_bells && m->bell[i].addr == addr; i++) {
		const struct doorbell *d = &m->bell[i].d;

		if ((d->width && d->width != size) || (d->match && d->value != value))
			continue;
		sys_eventfd_signal(d->fd);
		return true;
	}
	return false;
}

static bool post_write(struct region *r, uint64_t off, uint64_t value, unsigned size)
{
	for (unsigned i = 0; i < r->n_posted; i++) {
		struct posted_register *p = &r->posted[i];

		if (p->offset != off || p->width != size)
			continue;
		SCHED_POINT();
		atomic_store(&p->value, value);
		p->posted(p);
		return true;
	}
	return false;
}

bool space_write(struct space *s, uint64_t addr, unsigned size, uint64_t value)
{
	const struct map *m;
	const struct range *r;

	SCHED_POINT();
	m = atomic_load(&s->map);
	SCHED_POINT();
	r = map_find(m, addr);
	if (!r)
		return false;
	value &= size_mask(size);
	if (m->n_bells && ring(m, addr, size, value))
		return true;
	if (!admit(r, addr, size) || post_write(r->region, addr - r->start + r->offset, value, size))
		return true;
	if (r->region->ops->write)
		region_write(r->region, addr - r->start + r->offset, value, size);
	else
		counter_add_shared(&r->region->refused, 1);
	return true;
}
