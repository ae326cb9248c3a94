/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interrupts by KVM's own PIC, IOAPIC and PIT.
 *
 * GSI 0 to 23 are the pins of the IOAPIC, 0 to 15 those of the PIC too, but that the PIT's GSI 0 is pin 2 of the
 * IOAPIC, as on every PC. From MSI_GSI_BASE on each GSI is one message with an irqfd of its own. KVM takes the routing
 * table only as a whole, so it is written when a route that it has changes, not when one is added: a route gets into
 * it, and its eventfd is bound, by the first route_set().
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "kvm/kvm.h"

/* ---- the table ---- */

static void chip_entry(struct kvm_irq_routing *t, unsigned gsi, unsigned chip, unsigned pin)
{
	t->entries[t->nr++] = (struct kvm_irq_routing_entry){
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = { .irqchip = chip, .pin = pin },
	};
}

static void pin_entries(struct kvm_irq_routing *t)
{
	for (unsigned gsi = 0; gsi < IOAPIC_PINS; gsi++) {
		if (gsi == 2) /* the cascade on the PIC, taken by the PIT on the IOAPIC */
			continue;
		if (gsi < 16)
			chip_entry(t, gsi, gsi < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, gsi & 7);
		chip_entry(t, gsi, KVM_IRQCHIP_IOAPIC, gsi ? gsi : 2);
	}
}

static int write_table(struct kvm *k) REQUIRES(k->route_lock)
{
	size_t max = 16 + IOAPIC_PINS + k->routes;
	struct kvm_irq_routing *t = calloc(1, sizeof(*t) + max * sizeof(t->entries[0]));
	int r;

	if (!t)
		return -ENOMEM;
	pin_entries(t);
	for (unsigned i = 0; i < k->routes; i++) {
		const struct irq_route *e = &k->route[i];

		if (!e->live)
			continue;
		t->entries[t->nr++] = (struct kvm_irq_routing_entry){
			.gsi = MSI_GSI_BASE + i,
			.type = KVM_IRQ_ROUTING_MSI,
			.u.msi = { .address_lo = (uint32_t)e->msg.address,
				   .address_hi = (uint32_t)(e->msg.address >> 32),
				   .data = e->msg.data },
		};
	}
	r = kvm_ioctl(k->vm, KVM_SET_GSI_ROUTING, t);
	free(t);
	return r;
}

static int bind_irqfd(struct kvm *k, int fd, unsigned route, uint32_t flags)
{
	struct kvm_irqfd q = { .fd = (uint32_t)fd, .gsi = MSI_GSI_BASE + route, .flags = flags };

	return kvm_ioctl(k->vm, KVM_IRQFD, &q);
}

/* ---- struct irq_chip ---- */

static void set_line(void *opaque, unsigned gsi, bool level)
{
	struct kvm *k = opaque;
	struct kvm_irq_level l = { .irq = gsi, .level = level };

	kvm_ioctl(k->vm, KVM_IRQ_LINE, &l);
}

/* A free entry, the table grown by a few if there is none. */
static int find_route(struct kvm *k) REQUIRES(k->route_lock)
{
	unsigned n = k->routes, more = n + 16;
	struct irq_route *t;

	for (unsigned i = 0; i < n; i++)
		if (!k->route[i].used)
			return (int)i;
	if (more + 16 + IOAPIC_PINS > k->max_routes)
		return -ENOSPC;
	t = realloc(k->route, more * sizeof(*t));
	if (!t)
		return -ENOMEM;
	memset(t + n, 0, 16 * sizeof(*t));
	k->route = t;
	k->routes = more;
	return (int)n;
}

static int route_add(void *opaque, int *fd, struct error *err)
{
	struct kvm *k = opaque;
	int e = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), r;

	if (e < 0)
		return fail(err, errno, "cannot make an eventfd for an interrupt: %s", errno_str(errno));
	mutex_lock(&k->route_lock);
	r = find_route(k);
	if (r >= 0)
		k->route[r] = (struct irq_route){ .fd = e, .used = true };
	mutex_unlock(&k->route_lock);
	if (r < 0) {
		close(e);
		return fail(err, -r, "no room for another interrupt message: KVM takes %u", k->max_routes);
	}
	*fd = e;
	return r;
}

static void route_del(void *opaque, int route)
{
	struct kvm *k = opaque;
	struct irq_route e;

	mutex_lock(&k->route_lock);
	e = k->route[route];
	if (e.assigned)
		bind_irqfd(k, e.fd, (unsigned)route, KVM_IRQFD_FLAG_DEASSIGN);
	/* Its entry may stay in KVM's table until the next change: no irqfd raises it. */
	k->route[route] = (struct irq_route){ .fd = -1 };
	mutex_unlock(&k->route_lock);
	close(e.fd);
}

static int apply_route(struct kvm *k, unsigned i) REQUIRES(k->route_lock)
{
	struct irq_route *e = &k->route[i];
	uint64_t lost;
	int r = write_table(k);

	if (r < 0 || e->assigned || !e->live)
		return r;
	/* What was signalled while there was no route is lost, not late. */
	while (read(e->fd, &lost, sizeof(lost)) < 0 && errno == EINTR)
		;
	r = bind_irqfd(k, e->fd, i, 0);
	e->assigned = r >= 0;
	return r;
}

static int route_set(void *opaque, int route, const struct msi_message *msg)
{
	struct kvm *k = opaque;
	struct irq_route *e;
	int r = 0;

	mutex_lock(&k->route_lock);
	e = &k->route[route];
	if (e->live != (msg != NULL) || (msg && (msg->address != e->msg.address || msg->data != e->msg.data))) {
		struct irq_route before = *e;

		e->live = msg != NULL;
		if (msg)
			e->msg = *msg;
		r = apply_route(k, (unsigned)route);
		/*
		 * KVM refuses the table as a whole: a bad message must not stay in it, nor pass for done the next time.
		 */
		if (r < 0) {
			e->live = before.live;
			e->msg = before.msg;
		}
	}
	mutex_unlock(&k->route_lock);
	return r;
}

/* ---- life ---- */

int kvm_irq_init(struct kvm *k, struct error *err)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	int r = kvm_ioctl(k->vm, KVM_CREATE_IRQCHIP, NULL);

	if (r == 0)
		r = kvm_ioctl(k->vm, KVM_CREATE_PIT2, &pit);
	if (r < 0)
		return fail(err, -r, "/dev/kvm: cannot make the interrupt controllers: %s", errno_str(-r));
	mutex_lock(&k->route_lock);
	r = write_table(k);
	mutex_unlock(&k->route_lock);
	if (r < 0)
		return fail(err, -r, "/dev/kvm: cannot route interrupts: %s", errno_str(-r));
	k->irq = (struct irq_chip){
		.set_line = set_line,
		.route_add = route_add,
		.route_del = route_del,
		.route_set = route_set,
		.opaque = k,
	};
	return 0;
}

void kvm_irq_destroy(struct kvm *k) NO_THREAD_SAFETY
{
	for (unsigned i = 0; i < k->routes; i++)
		if (k->route[i].used)
			close(k->route[i].fd);
	free(k->route);
}

static void reset_pic(struct kvm *k, unsigned chip, uint8_t elcr, uint8_t elcr_mask)
{
	struct kvm_irqchip c = { .chip_id = chip };

	c.chip.pic.elcr = elcr;
	c.chip.pic.elcr_mask = elcr_mask;
	kvm_ioctl(k->vm, KVM_SET_IRQCHIP, &c);
}

static void reset_ioapic(struct kvm *k)
{
	struct kvm_irqchip c = { .chip_id = KVM_IRQCHIP_IOAPIC };

	c.chip.ioapic.base_address = 0xfec00000;
	for (unsigned i = 0; i < KVM_IOAPIC_NUM_PINS; i++)
		c.chip.ioapic.redirtbl[i].fields.mask = 1;
	kvm_ioctl(k->vm, KVM_SET_IRQCHIP, &c);
}

static void reset_pit(struct kvm *k)
{
	struct kvm_pit_state2 s = { 0 };

	for (unsigned i = 0; i < 3; i++) {
		s.channels[i].mode = 0xff; /* not programmed: no timer runs */
		s.channels[i].gate = i != 2;
	}
	kvm_ioctl(k->vm, KVM_SET_PIT2, &s);
}

void kvm_irq_reset(struct kvm *k)
{
	/* Lines that the memory map's owner calls level-triggered: the ELCR, as firmware would set it. */
	uint16_t level = k->env.level_gsis;

	reset_pic(k, KVM_IRQCHIP_PIC_MASTER, level & 0xf8, 0xf8);
	reset_pic(k, KVM_IRQCHIP_PIC_SLAVE, level >> 8 & 0xde, 0xde);
	reset_ioapic(k);
	reset_pit(k);
}
