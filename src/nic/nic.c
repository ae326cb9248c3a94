/* SPDX-License-Identifier: BSD-2-Clause */
/* See nic.h. */
#include "nic/nic.h"

#include <errno.h>
#include <stdio.h>

#include "base/log.h"

void nic_name_client(struct net_client *c, const char *label, const char *model)
{
	if (strcmp(label, model)) {
		snprintf(c->name, sizeof(c->name), "%s", label);
		return;
	}
	for (unsigned i = 0; i < UINT16_MAX; i++) {
		snprintf(c->name, sizeof(c->name), "%s.%u", label, i);
		if (!net_client_find(c->name, 0))
			return;
	}
}

static struct net_client *backend_of(const char *netdev, unsigned queue)
{
	struct net_client *c = net_client_find(netdev, queue);

	return c && c->kind != NET_KIND_NIC ? c : NULL;
}

struct loop *nic_loop(const char *netdev, unsigned queue, struct loop *otherwise)
{
	const struct net_client *c = netdev ? backend_of(netdev, queue) : NULL;

	return c ? c->loop : otherwise;
}

static int connect_to(struct net_client *c, const char *netdev, const char *label, struct error *err)
{
	struct net_client *backend;
	int r;

	if (!netdev) {
		log_warn("%s: netdev= is not given, nothing is connected to this NIC", label);
		return 0;
	}
	backend = backend_of(netdev, c->queue);
	if (!backend)
		return fail(err, ENOENT, "netdev=%s: there is no such network backend; add -netdev ...,id=%s", netdev,
			    netdev);
	r = net_connect(c, backend, err);
	if (r < 0)
		error_prefix(err, "netdev=%s: ", netdev);
	return r;
}

int nic_join(struct net_client *c, const char *netdev, const char *label, struct error *err)
{
	int r = net_client_add(c, err);

	if (r < 0)
		return r;
	r = connect_to(c, netdev, label, err);
	if (r < 0)
		net_client_remove(c);
	return r;
}
