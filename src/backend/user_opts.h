/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The options of -netdev user: QEMU's, with QEMU's rules, resolved into what vwire-user is told.
 *
 * Rules that are not in the table: ipv4 and ipv6 are both on if neither is given; one of them on alone turns the other
 * off. A network without a mask gets one guessed from its class. host, dhcpstart and dns are the addresses .2, .15 and
 * .3 of the network's first /16 at most (net | 0.0.2.2 and so on, as far as the mask leaves bits).
 */
#ifndef BACKEND_USER_OPTS_H
#define BACKEND_USER_OPTS_H

#include "base/opts.h"
#include "user/proto.h"

struct user_opts {
	uint8_t ipv4, ipv6; /* enum onoffauto */
	char *net, *ip, *host, *ipv6_net, *ipv6_prefix, *ipv6_host, *dhcpstart, *dns, *ipv6_dns;
	uint8_t ipv6_prefixlen;
	bool restricted, prefilter;
	char *hostname, *domainname, *tftp, *tftp_server_name, *bootfile, *smb, *smbserver;
	struct strlist dnssearch, hostfwd, guestfwd;
};

extern const struct opt user_opt_table[];

struct user_fwd_rule {
	struct user_fwd fwd;
	uint16_t picked; /* the host's port, if the user left it open (0) and vwire-user has found one */
	char text[128];	 /* as the user wrote it, for messages */
};

struct user_guestfwd_rule {
	struct user_guestfwd fwd;
	char *text;
	const char *target;  /* in text: "cmd:COMMAND", or a character device (chardev_open()) */
	const char *command; /* in text; NULL: a character device */
};

/* What a user network is. */
struct user_net {
	struct user_config config;
	struct user_fwd_rule *fwd;
	unsigned n_fwd;
	struct user_guestfwd_rule guestfwd[USER_GUESTFWD_MAX];
	unsigned n_guestfwd;
};

/* Check all options against each other and resolve them. On an error nothing is left; else user_net_free(). */
int user_opts_resolve(const struct user_opts *o, struct user_net *n, struct error *err) __must_check;
void user_net_free(struct user_net *n);

/* The hostfwd and guestfwd options alone, into a net whose config is resolved. */
int user_rules_resolve(const struct user_opts *o, struct user_net *n, struct error *err) __must_check;

/* One rule from its text; `remove`: without the guest's part. The text of an error does not name the option. */
int user_fwd_parse(const char *text, bool remove, struct user_fwd *f, struct error *err) __must_check;
/* The guest's address of a rule must be one of the network. */
int user_net_check_fwd(const struct user_net *n, const struct user_fwd *f, struct error *err) __must_check;
/* Take a rule into the list. -EEXIST: the port is forwarded already; -ENOSPC: too many. */
int user_net_add_fwd(struct user_net *n, const char *text, const struct user_fwd *f, struct error *err) __must_check;
/* -ENOENT: there is none with this protocol, address and port. f becomes what vwire-user knows it by. */
int user_net_del_fwd(struct user_net *n, struct user_fwd *f, struct error *err) __must_check;

/* The text for a rule whose port could not be had; returns -code. */
int user_fwd_error(const char *rule, const struct user_fwd *f, int code, struct error *err);

#endif
