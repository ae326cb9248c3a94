/* SPDX-License-Identifier: BSD-2-Clause */
/* The accelerator of -accel qtest. */
#include "ctl/qtest_accel.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define APIC_BASE 0xfee00000ULL /* local APICs take messages here: Intel SDM volume 3, 11.11 */
#define APIC_SIZE 0x100000ULL

/* ---- lines ---- */

void qtest_accel_line(struct qtest_accel *q, unsigned gsi, bool level)
{
	char line[40];

	if (gsi >= QTEST_LINES || q->level[gsi] == level)
		return;
	q->level[gsi] = level;
	snprintf(line, sizeof(line), "IRQ %s %u", level ? "raise" : "lower", gsi);
	if (q->report_lines)
		q->say(q->opaque, line);
}

static void chip_set_line(void *opaque, unsigned gsi, bool level)
{
	qtest_accel_line(opaque, gsi, level);
}

/* ---- messages ---- */

static void deliver(struct qtest_accel *q, const struct msi_message *msg)
{
	void *ram = ram_ptr(q->ram, msg->address, sizeof(uint32_t));
	uint32_t data = htole32(msg->data);
	char line[64];

	if (ram) {
		memcpy(ram, &data, sizeof(data));
		return;
	}
	if (msg->address < APIC_BASE || msg->address - APIC_BASE >= APIC_SIZE) {
		counter_add(&q->lost, 1);
		return;
	}
	counter_add(&q->messages, 1);
	snprintf(line, sizeof(line), "IRQ msi 0x%" PRIx64 " 0x%x", msg->address, msg->data);
	if (q->report_messages)
		q->say(q->opaque, line);
}

static void on_route(struct watch *w, uint32_t events)
{
	struct qtest_route *r = container_of(w, struct qtest_route, watch);
	uint64_t n;

	(void)events;
	/* As with KVM: what was signalled several times meanwhile is one interrupt. */
	if (read(r->fd, &n, sizeof(n)) != sizeof(n))
		return;
	if (r->bound)
		deliver(r->owner, &r->msg);
	else
		counter_add(&r->owner->lost, 1);
}

static int route_make(struct qtest_accel *q, int slot, int *eventfd_out, struct error *err)
{
	struct qtest_route *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return fail(err, ENOMEM, "out of memory");
	r->owner = q;
	r->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->fd < 0) {
		rc = fail(err, errno, "eventfd: %s", errno_str(errno));
		free(r);
		return rc;
	}
	watch_init(&r->watch, "msi", r->fd, on_route);
	rc = watch_add(q->loop, &r->watch, EPOLLIN);
	if (rc < 0) {
		close(r->fd);
		free(r);
		return fail(err, -rc, "epoll: %s", errno_str(rc));
	}
	q->route[slot] = r;
	*eventfd_out = r->fd;
	return slot;
}

static int chip_route_add(void *opaque, int *eventfd_out, struct error *err)
{
	struct qtest_accel *q = opaque;

	for (int i = 0; i < QTEST_ROUTES; i++) {
		if (!q->route[i])
			return route_make(q, i, eventfd_out, err);
	}
	return fail(err, ENOSPC, "more than %d interrupt routes", QTEST_ROUTES);
}

static void chip_route_del(void *opaque, int route)
{
	struct qtest_accel *q = opaque;
	struct qtest_route *r = q->route[route];

	q->route[route] = NULL;
	watch_del(&r->watch);
	close(r->fd);
	free(r);
}

static int chip_route_set(void *opaque, int route, const struct msi_message *msg)
{
	struct qtest_accel *q = opaque;
	struct qtest_route *r = q->route[route];

	r->bound = msg != NULL;
	if (msg)
		r->msg = *msg;
	return 0;
}

/* ---- no processors ---- */

static int no_cpus_start(struct accel *a, struct error *err)
{
	(void)a;
	(void)err;
	return 0;
}

static int no_cpus_reset(struct accel *a, const struct boot_cpu *boot, struct error *err)
{
	struct qtest_accel *q = a->opaque;

	(void)boot;
	(void)err;
	for (unsigned gsi = 0; gsi < QTEST_LINES; gsi++)
		qtest_accel_line(q, gsi, false);
	return 0;
}

static void no_op(struct accel *a)
{
	(void)a;
}

static void no_destroy(struct accel *a)
{
	struct qtest_accel *q = a->opaque;

	for (int i = 0; i < QTEST_ROUTES; i++) {
		if (q->route[i])
			chip_route_del(q, i);
	}
}

void qtest_accel_init(struct qtest_accel *q, const struct accel_env *env, struct loop *loop,
		      void (*say)(void *opaque, const char *line), void *opaque)
{
	*q = (struct qtest_accel){
		.chip = { chip_set_line, chip_route_add, chip_route_del, chip_route_set, q },
		.loop = loop,
		.ram = env->ram,
		.say = say,
		.opaque = opaque,
	};
	q->accel = (struct accel){
		.name = "qtest",
		.irq = &q->chip,
		.opaque = q,
		.cpus_start = no_cpus_start,
		.cpus_reset = no_cpus_reset,
		.pause = no_op,
		.resume = no_op,
		.destroy = no_destroy,
	};
}
