/* SPDX-License-Identifier: BSD-2-Clause */
/* See the header. */
#include "machine/acpi_pm.h"

#define STS_TIMER	 BIT(0)
#define STS_POWER_BUTTON BIT(8)
#define STS_BITS	 0x8731 /* defined ones: written as 1, they are cleared */
#define EN_BITS		 0x4721
#define CNT_SCI_EN	 BIT(0)
#define CNT_SLEEP_TYPE	 0x1c00
#define CNT_SLEEP_SHIFT	 10
#define CNT_SLEEP_EN	 BIT(13)

#define PM_HZ	3579545ULL
#define PM_BITS 24

/* ---- the timer ---- */

static uint64_t pm_ticks(void)
{
	return (uint64_t)((unsigned __int128)clock_now(CLOCK_VM_NS) * PM_HZ / NSEC_PER_SEC);
}

/* The status bit is set each time that the highest bit of the timer changes. */
static void catch_up(struct acpi_pm *p)
{
	uint64_t carries = pm_ticks() >> (PM_BITS - 1);

	if (carries != p->carries)
		p->status |= STS_TIMER;
	p->carries = carries;
}

static void update_sci(struct acpi_pm *p)
{
	isa_irq_set(&p->sci, (p->status & p->enable & (STS_TIMER | STS_POWER_BUTTON)) != 0);
}

static void rearm(struct acpi_pm *p)
{
	unsigned __int128 next;
	bool wanted;

	mutex_lock(&p->lock);
	catch_up(p);
	update_sci(p);
	wanted = p->enable & STS_TIMER;
	next = (unsigned __int128)(p->carries + 1) << (PM_BITS - 1);
	mutex_unlock(&p->lock);
	if (wanted)
		timer_arm(&p->timer, (uint64_t)((next * NSEC_PER_SEC + PM_HZ - 1) / PM_HZ));
	else
		timer_cancel(&p->timer);
}

static void on_timer(struct timer *t)
{
	rearm(container_of(t, struct acpi_pm, timer));
}

static void on_rearm(struct post *post)
{
	rearm(container_of(post, struct acpi_pm, rearm));
}

/* ---- registers: 16 bits wide but for the timer ---- */

static uint16_t read16(struct acpi_pm *p, uint64_t off)
{
	switch (off) {
	case PM1_EVENT:
		catch_up(p);
		return p->status;
	case PM1_EVENT + 2:
		return p->enable;
	case PM1_CONTROL:
		return p->control | CNT_SCI_EN;
	case PM_TIMER:
		return (uint16_t)pm_ticks();
	case PM_TIMER + 2:
		return (uint16_t)(pm_ticks() >> 16 & 0xff);
	default:
		return 0;
	}
}

static void write_control(struct acpi_pm *p, uint16_t v)
{
	p->control = v & CNT_SLEEP_TYPE;
	if (v & CNT_SLEEP_EN && (v & CNT_SLEEP_TYPE) >> CNT_SLEEP_SHIFT == PM_SLEEP_TYPE_S5 && p->poweroff)
		p->poweroff(p->opaque);
}

static void write16(struct acpi_pm *p, uint64_t off, uint16_t v)
{
	switch (off) {
	case PM1_EVENT:
		catch_up(p);
		p->status &= (uint16_t) ~(v & STS_BITS);
		break;
	case PM1_EVENT + 2:
		if ((p->enable ^ v) & STS_TIMER)
			loop_post(p->loop, &p->rearm);
		p->enable = v & EN_BITS;
		break;
	case PM1_CONTROL:
		write_control(p, v);
		break;
	default:
		break;
	}
	update_sci(p);
}

static uint64_t pm_read(void *opaque, uint64_t off, unsigned size)
{
	struct acpi_pm *p = opaque;

	if (size == 4 && off == PM_TIMER)
		return pm_ticks() & (BIT(PM_BITS) - 1);
	if (size == 4)
		return read16(p, off) | (uint64_t)read16(p, off + 2) << 16;
	if (size == 2)
		return read16(p, off);
	return read16(p, off & ~1ULL) >> (off & 1) * 8 & 0xff;
}

static void pm_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	struct acpi_pm *p = opaque;

	if (size == 1) {
		/* The other half as it stands; but a status bit is cleared by a 1, so there it is 0. */
		uint16_t old = off < 2 ? 0 : read16(p, off & ~1ULL);
		unsigned shift = (off & 1) * 8;

		write16(p, off & ~1ULL, (uint16_t)((old & ~(0xff << shift)) | (value & 0xff) << shift));
		return;
	}
	write16(p, off, (uint16_t)value);
	if (size == 4)
		write16(p, off + 2, (uint16_t)(value >> 16));
}

static const struct region_ops pm_ops = { .read = pm_read, .write = pm_write, .min = 1, .max = 4 };

/* ---- life ---- */

void acpi_pm_init(struct acpi_pm *p, struct loop *main_loop, const struct irq_chip *irq, unsigned gsi, uint64_t size)
{
	*p = (struct acpi_pm){ .loop = main_loop, .sci = { .chip = irq, .gsi = gsi } };
	mutex_init(&p->lock);
	timer_init(&p->timer, main_loop, CLOCK_VM_NS, on_timer);
	post_init(&p->rearm, on_rearm);
	p->region = (struct region){
		.name = "acpi-pm",
		.size = size,
		.ops = &pm_ops,
		.opaque = p,
		.policy = REGION_DEVICE,
		.lock = &p->lock,
	};
}

void acpi_pm_on_poweroff(struct acpi_pm *p, void (*poweroff)(void *opaque), void *opaque)
{
	p->poweroff = poweroff;
	p->opaque = opaque;
}

void acpi_pm_power_button(struct acpi_pm *p)
{
	mutex_lock(&p->lock);
	p->status |= STS_POWER_BUTTON;
	update_sci(p);
	mutex_unlock(&p->lock);
}

void acpi_pm_reset(struct acpi_pm *p)
{
	mutex_lock(&p->lock);
	p->status = p->enable = p->control = 0;
	p->carries = pm_ticks() >> (PM_BITS - 1);
	update_sci(p);
	mutex_unlock(&p->lock);
	timer_cancel(&p->timer);
}

void acpi_pm_destroy(struct acpi_pm *p)
{
	timer_cancel(&p->timer);
	loop_unpost(p->loop, &p->rearm);
	mutex_destroy(&p->lock);
}
