/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * MSI-X. Theory of operation:
 *
 * Each vector has one atomic word: MASKED (no message may be sent now: its own mask bit, the function's, no bus
 * mastering, or no valid route), PENDING (a signal waits for the unmask), and the number of threads that are sending
 * right now. MASKED and the table belong to the control mutex; notifiers take none.
 *
 *	notify: in one compare-and-swap, either find MASKED and leave PENDING, or find it clear and count as a sender;
 *	        a sender writes the eventfd and takes itself off the count
 *	mask:   set MASKED, then wait until no sender is left (each is between two instructions and one write(2))
 *	unmask: set the route, then clear MASKED and PENDING in one step; if PENDING was there, send
 *
 * A signal therefore meets MASKED before or after the unmask, never in between: it is sent by the notifier or by the
 * unmask, once, and none is sent after the write that masked has returned. Signals that meet while pending are one.
 *
 * Routes cost the accelerator a system call and a slot in a table, so a vector gets one when it is first unmasked, and
 * a message is handed over only when the vector is unmasked and the message is not the one that the route has already.
 * Whether a message is good is the interrupt chip's to say: one that is refused leaves the vector masked, and counted.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/sched.h"
#include "pci/intx.h"
#include "pci/msix.h"

#define STATE_MASKED  (1u << 31)
#define STATE_PENDING (1u << 30)
#define STATE_SENDERS (STATE_PENDING - 1)

#define CTRL_MASK      PCI_MSIX_ENTRY_CTRL_MASKBIT
#define PBA_OFFSET_MIN 2048u

enum {
	ENTRY_LOW,
	ENTRY_HIGH,
	ENTRY_DATA,
	ENTRY_CTRL,
	ENTRY_WORDS
};

struct vector {
	_Atomic uint32_t state;
	uint32_t entry[ENTRY_WORDS]; /* what the guest reads back */
	int route;		     /* < 0: none yet */
	int fd;			     /* valid while not MASKED */
	bool routed;
	struct msi_message msg; /* what the route has, if `routed` */
};

struct msix {
	struct pci_device *pci;
	const struct irq_chip *irq;
	unsigned n, cap;
	_Atomic bool enabled;
	bool fmask; /* the whole function is masked */
	counter refused;
	struct region table, pba;
	struct vector vector[];
};

void msix_notify(struct pci_device *p, unsigned n)
{
	struct msix *m = p->msix;
	struct vector *v;
	uint32_t s, next;

	if (!m || n >= m->n)
		return;
	v = &m->vector[n];
	s = atomic_load(&v->state);
	do {
		SCHED_POINT();
		next = s & STATE_MASKED ? s | STATE_PENDING : s + 1;
	} while (!atomic_compare_exchange_weak(&v->state, &s, next));
	if (s & STATE_MASKED)
		return;
	SCHED_POINT();
	sys_eventfd_signal(v->fd);
	SCHED_POINT();
	atomic_fetch_sub(&v->state, 1);
}

/* ---- masks and routes; control mutex ---- */

static void vector_mask(struct vector *v)
{
	uint32_t s;

	SCHED_POINT();
	s = atomic_fetch_or(&v->state, STATE_MASKED);
	while (s & STATE_SENDERS) {
		sys_pause("no sender has looked at the mask");
		s = atomic_load(&v->state);
	}
}

static void vector_unmask(struct vector *v)
{
	uint32_t s;

	SCHED_POINT();
	s = atomic_fetch_and(&v->state, ~(STATE_MASKED | STATE_PENDING));
	if (s & STATE_PENDING)
		sys_eventfd_signal(v->fd);
}

static void refuse(struct msix *m, unsigned n, const char *why)
{
	counter_add(&m->refused, 1);
	log_limited(LOG_WARN, "device '%s': MSI-X vector %u stays masked: %s", device_label(&m->pci->dev), n, why);
}

/* The route that the table entry asks for; false: there is none. The vector may be unmasked only if its fd is there. */
static bool vector_route(struct msix *m, unsigned n)
{
	struct vector *v = &m->vector[n];
	struct msi_message msg = {
		.address = (uint64_t)v->entry[ENTRY_HIGH] << 32 | v->entry[ENTRY_LOW],
		.data = v->entry[ENTRY_DATA],
	};
	struct error err = { 0 };

	if (v->routed && v->msg.address == msg.address && v->msg.data == msg.data)
		return true;
	if (v->route < 0) {
		int fd, route = m->irq->route_add(m->irq->opaque, &fd, &err);

		if (route < 0) {
			refuse(m, n, err.msg);
			return false;
		}
		v->route = route;
		v->fd = fd;
	}
	v->routed = m->irq->route_set(m->irq->opaque, v->route, &msg) == 0;
	v->msg = msg;
	if (!v->routed)
		refuse(m, n, "the guest's message does not go to an interrupt controller");
	return v->routed;
}

static void vector_update(struct msix *m, unsigned n)
{
	struct vector *v = &m->vector[n];

	if (m->fmask || (v->entry[ENTRY_CTRL] & CTRL_MASK) || !vector_route(m, n))
		vector_mask(v);
	else
		vector_unmask(v);
}

void msix_update(struct pci_device *p)
{
	struct msix *m = p->msix;
	uint16_t flags = pci_get16(p, m->cap + PCI_MSIX_FLAGS);
	bool enabled = flags & PCI_MSIX_FLAGS_ENABLE;
	bool fmask = !enabled || (flags & PCI_MSIX_FLAGS_MASKALL) || !atomic_load(&p->dma.on);

	if (enabled != atomic_load(&m->enabled)) {
		atomic_store(&m->enabled, enabled);
		pci_intx_gate(p, INTX_MSIX, enabled);
	}
	if (fmask == m->fmask)
		return;
	m->fmask = fmask;
	for (unsigned n = 0; n < m->n; n++)
		vector_update(m, n);
}

/* ---- the table and the pending bits; REGION_DEVICE ---- */

static uint64_t table_read(void *opaque, uint64_t off, unsigned size)
{
	const struct msix *m = opaque;
	const uint32_t *entry = m->vector[off / PCI_MSIX_ENTRY_SIZE].entry;
	unsigned word = off % PCI_MSIX_ENTRY_SIZE / 4;

	return size == 8 ? entry[word] | (uint64_t)entry[word + 1] << 32 : entry[word];
}

static void table_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	static const uint32_t writable[ENTRY_WORDS] = { ~3u, ~0u, ~0u, CTRL_MASK };
	struct msix *m = opaque;
	unsigned n = (unsigned)(off / PCI_MSIX_ENTRY_SIZE), word = off % PCI_MSIX_ENTRY_SIZE / 4;

	m->vector[n].entry[word] = (uint32_t)value & writable[word];
	if (size == 8)
		m->vector[n].entry[word + 1] = (uint32_t)(value >> 32) & writable[word + 1];
	vector_update(m, n);
}

static uint64_t pba_read(void *opaque, uint64_t off, unsigned size)
{
	const struct msix *m = opaque;
	unsigned first = (unsigned)off * 8;
	uint64_t bits = 0;

	for (unsigned i = 0; i < size * 8 && first + i < m->n; i++)
		if (atomic_load(&m->vector[first + i].state) & STATE_PENDING)
			bits |= BIT(i);
	return bits;
}

static void pba_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	struct msix *m = opaque;

	(void)off, (void)value, (void)size;
	counter_add_shared(&m->pba.refused, 1);
}

/* DWORD and QWORD accesses (6.8.2): smaller ones never get here. */
static const struct region_ops table_ops = { .read = table_read, .write = table_write, .min = 4, .max = 8 };
static const struct region_ops pba_ops = { .read = pba_read, .write = pba_write, .min = 4, .max = 8 };

/* ---- for the device ---- */

bool msix_enabled(const struct pci_device *p)
{
	return p->msix && atomic_load(&p->msix->enabled);
}

unsigned msix_vectors(const struct pci_device *p)
{
	return p->msix ? p->msix->n : 0;
}

uint64_t msix_refused(const struct pci_device *p)
{
	return p->msix ? counter_get(&p->msix->refused) : 0;
}

static void vector_reset(struct vector *v)
{
	memset(v->entry, 0, sizeof(v->entry));
	v->entry[ENTRY_CTRL] = CTRL_MASK;
	vector_mask(v);
	atomic_fetch_and(&v->state, ~STATE_PENDING);
}

void msix_reset(struct pci_device *p)
{
	struct msix *m = p->msix;

	if (!m)
		return;
	pci_set16(p, m->cap + PCI_MSIX_FLAGS, (uint16_t)(m->n - 1));
	for (unsigned n = 0; n < m->n; n++)
		vector_reset(&m->vector[n]);
	msix_update(p);
}

static struct region msix_region(struct msix *m, const char *name, uint64_t size, const struct region_ops *ops)
{
	return (struct region){
		.name = name,
		.size = size,
		.ops = ops,
		.opaque = m,
		.policy = REGION_DEVICE,
		.lock = &m->pci->dev.lock,
	};
}

/* The BAR holds the table at 0 and the pending bits behind it, in a page of their own use. */
static void msix_add_bar(struct msix *m, unsigned bar)
{
	unsigned table = m->n * PCI_MSIX_ENTRY_SIZE, pba = MAX(table, PBA_OFFSET_MIN), pba_size = (m->n + 63) / 64 * 8;
	uint64_t size = 4096;

	while (size < pba + pba_size)
		size *= 2;
	m->table = msix_region(m, "msix-table", table, &table_ops);
	m->pba = msix_region(m, "msix-pba", pba_size, &pba_ops);
	pci_bar_init(m->pci, bar, size, PCI_BASE_ADDRESS_SPACE_MEMORY);
	pci_bar_add(m->pci, bar, &m->table, 0);
	pci_bar_add(m->pci, bar, &m->pba, pba);
	pci_set32(m->pci, m->cap + PCI_MSIX_TABLE, bar);
	pci_set32(m->pci, m->cap + PCI_MSIX_PBA, pba | bar);
}

int msix_init(struct pci_device *p, unsigned n, unsigned bar, struct error *err)
{
	struct msix *m;
	int cap;

	if (n < 1 || n > PCI_MSIX_FLAGS_QSIZE + 1)
		return fail(err, EINVAL, "%u MSI-X vectors: allowed are 1 to %u", n, PCI_MSIX_FLAGS_QSIZE + 1);
	cap = pci_add_cap(p, PCI_CAP_ID_MSIX, PCI_CAP_MSIX_SIZEOF);
	if (cap < 0)
		return fail(err, -cap, "no room in config space for MSI-X");
	m = calloc(1, sizeof(*m) + n * sizeof(m->vector[0]));
	if (!m)
		return fail(err, ENOMEM, "no memory for %u MSI-X vectors", n);
	m->pci = p;
	m->irq = p->bus->host.irq;
	m->n = n;
	m->cap = (unsigned)cap;
	m->fmask = true;
	for (unsigned i = 0; i < n; i++) {
		m->vector[i].route = -1;
		m->vector[i].fd = -1;
		vector_reset(&m->vector[i]);
	}
	p->wmask[m->cap + PCI_MSIX_FLAGS + 1] = (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL) >> 8;
	msix_add_bar(m, bar);
	p->msix = m;
	msix_reset(p);
	return 0;
}

void msix_destroy(struct pci_device *p)
{
	struct msix *m = p->msix;

	if (!m)
		return;
	p->msix = NULL;
	for (unsigned n = 0; n < m->n; n++)
		if (m->vector[n].route >= 0)
			m->irq->route_del(m->irq->opaque, m->vector[n].route);
	free(m);
}
