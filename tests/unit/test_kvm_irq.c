/* SPDX-License-Identifier: BSD-2-Clause */
/* Interrupt routes: what KVM is told, and what stays when it refuses. KVM's part is played by kvm_ioctl() here. */
#include "unit.h"

#include "kvm/irq.c"

#define BAD_ADDRESS 0x100000000ULL /* what this KVM does not take */

static unsigned tables, msis, bound;
static bool refuse_irqfd;

static int set_table(const struct kvm_irq_routing *t)
{
	unsigned n = 0;

	for (unsigned i = 0; i < t->nr; i++) {
		if (t->entries[i].type != KVM_IRQ_ROUTING_MSI)
			continue;
		if (t->entries[i].u.msi.address_hi)
			return -EINVAL;
		n++;
	}
	msis = n;
	tables++;
	return 0;
}

int kvm_ioctl(int fd, unsigned long request, void *arg)
{
	const struct kvm_irqfd *q = arg;

	(void)fd;
	if (request == KVM_SET_GSI_ROUTING)
		return set_table(arg);
	if (request != KVM_IRQFD)
		return 0;
	if (refuse_irqfd)
		return -EBUSY;
	bound += q->flags & KVM_IRQFD_FLAG_DEASSIGN ? -1U : 1;
	return 0;
}

static struct kvm k;
static int route[2], fds[2];

static int set_up(void **state)
{
	struct error err;

	(void)state;
	k = (struct kvm){ .vm = -1, .max_routes = 4096 };
	mutex_init(&k.route_lock);
	tables = msis = bound = 0;
	refuse_irqfd = false;
	if (kvm_irq_init(&k, &err))
		return -1;
	for (unsigned i = 0; i < 2; i++)
		route[i] = k.irq.route_add(&k, &fds[i], &err);
	return route[0] < 0 || route[1] < 0;
}

static int tear_down(void **state)
{
	(void)state;
	kvm_irq_destroy(&k);
	mutex_destroy(&k.route_lock);
	return 0;
}

static int set_route(unsigned i, uint64_t address)
{
	return k.irq.route_set(&k, route[i], &(struct msi_message){ .address = address, .data = 0x41 });
}

static void a_route_is_bound_once(void **state)
{
	(void)state;
	assert_int_equal(tables, 1);
	assert_int_equal(set_route(0, 0xfee00000), 0);
	assert_int_equal(set_route(0, 0xfee00000), 0);
	assert_int_equal(tables, 2);
	assert_int_equal(set_route(0, 0xfee01000), 0);
	assert_int_equal(tables, 3);
	assert_int_equal(msis, 1);
	assert_int_equal(bound, 1);
	k.irq.route_del(&k, route[0]);
	assert_int_equal(bound, 0);
}

/* VT13: what one guest's vector asks for harms no other vector, and is not taken for done later. */
static void a_refused_message_leaves_no_trace(void **state)
{
	(void)state;
	assert_int_equal(set_route(0, BAD_ADDRESS), -EINVAL);
	assert_int_equal(set_route(0, BAD_ADDRESS), -EINVAL);
	assert_int_equal(bound, 0);
	assert_int_equal(set_route(1, 0xfee00000), 0);
	assert_int_equal(set_route(1, BAD_ADDRESS), -EINVAL);
	assert_int_equal(set_route(0, 0xfee00000), 0);
	assert_int_equal(msis, 2);
	assert_int_equal(bound, 2);
}

static void an_eventfd_that_was_not_bound_is_bound_later(void **state)
{
	(void)state;
	refuse_irqfd = true;
	assert_int_equal(set_route(0, 0xfee00000), -EBUSY);
	refuse_irqfd = false;
	assert_int_equal(set_route(0, 0xfee00000), 0);
	assert_int_equal(bound, 1);
	assert_int_equal(msis, 1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_route_is_bound_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_refused_message_leaves_no_trace, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_eventfd_that_was_not_bound_is_bound_later, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
