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

int nic_connect(struct net_client *c, const char *netdev, const char *label, struct error *err)
{
	struct net_client *backend;
	int r;

	if (!netdev) {
		log_warn("%s: netdev= is not given, nothing is connected to this NIC", label);
		return 0;
	}
	backend = net_client_find(netdev, 0);
	if (!backend || backend->kind == NET_KIND_NIC)
		return fail(err, ENOENT, "netdev=%s: there is no such network backend; add -netdev ...,id=%s", netdev,
			    netdev);
	r = net_connect(c, backend, err);
	if (r < 0)
		error_prefix(err, "netdev=%s: ", netdev);
	return r;
}
