/* SPDX-License-Identifier: BSD-2-Clause */
/* See the header. */
#include "machine/reset_ports.h"

#define I8042_DATA	    0
#define I8042_COMMAND	    4
#define COMMAND_OUTPUT_PORT 0xd1
#define COMMAND_RESET	    0xfe
#define OUTPUT_NOT_RESET    0x01
#define A20_FAST_RESET	    0x01
#define A20_ENABLED	    0x02
#define CF9_OFFSET	    1
#define CF9_RESET	    0x04
#define CF9_KEPT	    0x0a

static void reset_now(struct reset_ports *p)
{
	p->reset(p->opaque);
}

static uint64_t i8042_read(void *opaque, uint64_t off, unsigned size)
{
	(void)opaque;
	(void)off;
	(void)size;
	return 0; /* no data, ready for a command */
}

static void i8042_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	struct reset_ports *p = opaque;

	(void)size;
	if (off == I8042_COMMAND) {
		p->output_port = value == COMMAND_OUTPUT_PORT;
		if (value == COMMAND_RESET)
			reset_now(p);
	} else if (off == I8042_DATA && p->output_port) {
		p->output_port = false;
		if (!(value & OUTPUT_NOT_RESET))
			reset_now(p);
	}
}

static uint64_t a20_read(void *opaque, uint64_t off, unsigned size)
{
	const struct reset_ports *p = opaque;

	(void)off;
	(void)size;
	return p->a20_value;
}

static void a20_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	struct reset_ports *p = opaque;

	(void)off;
	(void)size;
	if (value & A20_FAST_RESET && !(p->a20_value & A20_FAST_RESET))
		reset_now(p);
	p->a20_value = (uint8_t)(value & 0xfe);
}

static uint64_t address_read(void *opaque, uint64_t off, unsigned size)
{
	struct reset_ports *p = opaque;
	const struct region *r = &p->pci_address;

	if (off == CF9_OFFSET && size == 1)
		return p->cf9_value;
	return size >= r->ops->min ? r->ops->read(r->opaque, off, size) : 0xff;
}

static void address_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	struct reset_ports *p = opaque;
	const struct region *r = &p->pci_address;

	if (off == CF9_OFFSET && size == 1) {
		p->cf9_value = value & CF9_KEPT;
		if (value & CF9_RESET)
			reset_now(p);
	} else if (size >= r->ops->min) {
		r->ops->write(r->opaque, off, value, size);
	}
}

static const struct region_ops i8042_ops = { .read = i8042_read, .write = i8042_write, .min = 1, .max = 1 };
static const struct region_ops a20_ops = { .read = a20_read, .write = a20_write, .min = 1, .max = 1 };
static const struct region_ops address_ops = { .read = address_read, .write = address_write, .min = 1, .max = 4 };

static void init_region(struct reset_ports *p, struct region *r, const char *name, uint64_t size,
			const struct region_ops *ops)
{
	*r = (struct region){
		.name = name,
		.size = size,
		.ops = ops,
		.opaque = p,
		.policy = REGION_DEVICE,
		.lock = &p->lock,
	};
}

void reset_ports_init(struct reset_ports *p, void (*reset)(void *opaque), void *opaque)
{
	p->reset = reset;
	p->opaque = opaque;
	mutex_init(&p->lock);
	init_region(p, &p->i8042, "i8042", 5, &i8042_ops);
	init_region(p, &p->a20, "port92", 1, &a20_ops);
	init_region(p, &p->config_address, "pci-config-address", 4, &address_ops);
	reset_ports_reset(p);
}

void reset_ports_reset(struct reset_ports *p)
{
	p->output_port = false;
	p->a20_value = A20_ENABLED;
	p->cf9_value = 0;
}
