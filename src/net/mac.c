/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of the addresses in use: short, and looked at only when NICs come and go. */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "net/mac.h"

static const uint8_t first_auto[6] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };

static uint64_t *used;
static unsigned n_used;

static bool is_used(uint64_t key)
{
	for (unsigned i = 0; i < n_used; i++) {
		if (used[i] == key)
			return true;
	}
	return false;
}

static int next_free(uint8_t addr[6], struct error *err)
{
	memcpy(addr, first_auto, sizeof(first_auto));
	while (is_used(mac_key(addr))) {
		if (addr[5] == 0xff)
			return fail(err, ENOSPC,
				    "no address is left from 52:54:00:12:34:56 on; give the NIC one with mac=");
		addr[5]++;
	}
	return 0;
}

bool mac_given(const struct mac_opt *mac)
{
	static const uint8_t none[6];

	return mac->set && memcmp(mac->addr, none, sizeof(none));
}

int mac_check(const struct mac_opt *mac, struct error *err)
{
	if (!mac_given(mac) || !mac_is_multicast(mac->addr))
		return 0;
	return fail(err, EINVAL, "mac=" MAC_FMT " is a multicast address; a NIC needs one whose first byte is even",
		    MAC_ARGS(mac->addr));
}

int mac_assign(struct mac_opt *mac, const char *who, struct error *err)
{
	uint64_t *grown;
	int r = mac_given(mac) ? mac_check(mac, err) : next_free(mac->addr, err);

	if (r < 0)
		return r;
	if (is_used(mac_key(mac->addr)))
		log_warn("%s: another NIC has the address " MAC_FMT " too", who, MAC_ARGS(mac->addr));
	grown = realloc(used, (n_used + 1) * sizeof(*used));
	if (!grown)
		return fail(err, ENOMEM, "no memory");
	used = grown;
	used[n_used++] = mac_key(mac->addr);
	mac->set = true;
	return 0;
}

void mac_release(const struct mac_opt *mac)
{
	for (unsigned i = 0; i < n_used; i++) {
		if (used[i] == mac_key(mac->addr)) {
			used[i] = used[--n_used];
			break;
		}
	}
	if (n_used == 0) {
		free(used);
		used = NULL;
	}
}
