/* SPDX-License-Identifier: BSD-2-Clause */
/* Rules of user networking: hostfwd and guestfwd. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

#include "backend/user_opts.h"

#define FWD_FORM	"expected [tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport"
#define FWD_REMOVE_FORM "expected [tcp|udp]:[hostaddr]:hostport"
#define GUESTFWD_FORM	"expected [tcp]:server:port-chardev:id or [tcp]:server:port-cmd:command"

/* Cut the next part off *s at `sep`, in place. NULL: there is no `sep`. */
static char *cut(char **s, char sep)
{
	char *part = *s, *end = strchr(part, sep);

	if (!end)
		return NULL;
	*end = 0;
	*s = end + 1;
	return part;
}

static int parse_protocol(const char *s, uint8_t *udp, const char *form, struct error *err)
{
	*udp = !strcmp(s, "udp");
	if (!*s || *udp || !strcmp(s, "tcp"))
		return 0;
	return fail(err, EINVAL, "the protocol \"%s\" is neither tcp nor udp; %s", s, form);
}

static int parse_address(const char *what, const char *s, uint32_t *addr, struct error *err)
{
	*addr = 0;
	if (*s && inet_pton(AF_INET, s, addr) != 1)
		return fail(err, EINVAL, "the %s address \"%s\" is not an IPv4 address", what, s);
	return 0;
}

static int parse_port(const char *what, const char *s, uint16_t min, uint16_t *port, struct error *err)
{
	struct error ignored;
	uint64_t v;

	if (parse_uint(s, min, 65535, &v, &ignored))
		return fail(err, EINVAL, "the %s port \"%s\" is not a number between %u and 65535%s", what, s, min,
			    min ? "" : " (0: any that is free)");
	*port = (uint16_t)v;
	return 0;
}

static int parse_parts(char *s, bool remove, struct user_fwd *f, struct error *err)
{
	const char *form = remove ? FWD_REMOVE_FORM : FWD_FORM;
	char *proto = cut(&s, ':'), *addr = proto ? cut(&s, ':') : NULL, *port, *guest_addr;
	int rc;

	if (!addr)
		return fail(err, EINVAL, "%s", form);
	port = remove ? s : cut(&s, '-');
	guest_addr = remove || !port ? s : cut(&s, ':');
	if (!port || !guest_addr)
		return fail(err, EINVAL, "%s", form);
	rc = parse_protocol(proto, &f->udp, form, err)		     ?:
		     parse_address("host", addr, &f->host_addr, err) ?:
								       parse_port("host", port, 0, &f->host_port, err);
	if (rc || remove)
		return rc;
	return parse_address("guest", guest_addr, &f->guest_addr, err) ?:
									 parse_port("guest", s, 1, &f->guest_port, err);
}

int user_fwd_parse(const char *text, bool remove, struct user_fwd *f, struct error *err)
{
	char copy[sizeof(((struct user_fwd_rule *)0)->text)];

	*f = (struct user_fwd){ 0 };
	if (!strncmp(text, "unix:", 5))
		return fail(err, ENOTSUP, "forwarding from a UNIX socket is not offered; %s",
			    remove ? FWD_REMOVE_FORM : FWD_FORM);
	if (strlen(text) >= sizeof(copy))
		return fail(err, EINVAL, "too long; %s", remove ? FWD_REMOVE_FORM : FWD_FORM);
	memcpy(copy, text, strlen(text) + 1);
	return parse_parts(copy, remove, f, err);
}

/* Two rules that leave the port open do not meet; one of them is found by that it is open, or by what it became. */
static bool same_port(const struct user_fwd_rule *r, const struct user_fwd *f, bool overlap)
{
	if (!f->host_port)
		return !overlap && !r->fwd.host_port;
	return (r->fwd.host_port ? r->fwd.host_port : r->picked) == f->host_port;
}

static struct user_fwd_rule *find_fwd(struct user_net *n, const struct user_fwd *f, bool overlap)
{
	for (unsigned i = 0; i < n->n_fwd; i++) {
		const struct user_fwd *g = &n->fwd[i].fwd;
		bool any = overlap && (!g->host_addr || !f->host_addr);

		if (g->udp == f->udp && same_port(&n->fwd[i], f, overlap) && (any || g->host_addr == f->host_addr))
			return &n->fwd[i];
	}
	return NULL;
}

int user_net_add_fwd(struct user_net *n, const char *text, const struct user_fwd *f, struct error *err)
{
	const struct user_fwd_rule *other = find_fwd(n, f, true);
	struct user_fwd_rule *v;

	if (other)
		return fail(err, EEXIST, "this port is forwarded already by hostfwd=%s; choose a different one",
			    other->text);
	if (n->n_fwd == USER_FWD_MAX)
		return fail(err, ENOSPC, "too many rules; at most %d", USER_FWD_MAX);
	v = realloc(n->fwd, (n->n_fwd + 1) * sizeof(*v));
	if (!v)
		return fail(err, ENOMEM, "no memory");
	n->fwd = v;
	v[n->n_fwd].fwd = *f;
	v[n->n_fwd].picked = 0;
	snprintf(v[n->n_fwd].text, sizeof(v->text), "%s", text);
	n->n_fwd++;
	return 0;
}

int user_net_del_fwd(struct user_net *n, struct user_fwd *f, struct error *err)
{
	struct user_fwd_rule *r = find_fwd(n, f, false);

	if (!r)
		return fail(err, ENOENT, "there is no such rule");
	if (!f->host_port)
		f->host_port = r->picked;
	memmove(r, r + 1, (size_t)(n->fwd + n->n_fwd - (r + 1)) * sizeof(*r));
	n->n_fwd--;
	return 0;
}

/* A guest's address, if given, is one of its network; libslirp would forward to nowhere. */
int user_net_check_fwd(const struct user_net *n, const struct user_fwd *f, struct error *err)
{
	struct in_addr a = { f->guest_addr };
	char text[INET_ADDRSTRLEN];

	if (!a.s_addr || (a.s_addr & n->config.mask) == n->config.net)
		return 0;
	return fail(err, EINVAL,
		    "the guest address %s is not in the guest's network; choose one in it, or leave it empty",
		    inet_ntop(AF_INET, &a, text, sizeof(text)));
}

int user_fwd_error(const char *rule, const struct user_fwd *f, int code, struct error *err)
{
	struct in_addr a = { f->host_addr };
	char addr[INET_ADDRSTRLEN];
	const char *remedy = "";

	if (code == EADDRINUSE)
		remedy = "; choose a different port, or end the program that has it";
	else if (code == EADDRNOTAVAIL)
		remedy = "; the address is not one of this host";
	else if ((code == EACCES || code == EPERM) && f->host_port < 1024)
		remedy = "; ports below 1024 need CAP_NET_BIND_SERVICE, or a lower net.ipv4.ip_unprivileged_port_start";
	return fail(err, code, "hostfwd=%.127s: %s port %u on %s: %s%s", rule, f->udp ? "UDP" : "TCP", f->host_port,
		    a.s_addr ? inet_ntop(AF_INET, &a, addr, sizeof(addr)) : "any address", errno_str(code), remedy);
}

static int take_hostfwd(const char *text, struct user_net *n, struct error *err)
{
	struct user_fwd f;
	int rc = user_fwd_parse(text, false, &f, err)	?:
			 user_net_check_fwd(n, &f, err) ?:
							  user_net_add_fwd(n, text, &f, err);

	if (rc)
		error_prefix(err, "hostfwd=%.127s: ", text);
	return rc;
}

static int parse_guestfwd(char *s, struct user_guestfwd_rule *r, struct error *err)
{
	char *proto = cut(&s, ':'), *addr = proto ? cut(&s, ':') : NULL, *port = addr ? cut(&s, '-') : NULL;
	uint8_t udp;
	int rc;

	if (!port)
		return fail(err, EINVAL, "%s", GUESTFWD_FORM);
	rc = parse_protocol(proto, &udp, GUESTFWD_FORM, err);
	if (!rc && udp)
		return fail(err, EINVAL, "only tcp can be forwarded; %s", GUESTFWD_FORM);
	rc = rc ?: parse_address("server", addr, &r->fwd.addr, err) ?: parse_port("server", port, 1, &r->fwd.port, err);
	if (rc)
		return rc;
	r->target = s;
	r->command = strncmp(s, "cmd:", 4) ? NULL : s + 4;
	if (!*s || (r->command && !*r->command))
		return fail(err, EINVAL, "the %s is empty; %s", *s ? "command" : "target", GUESTFWD_FORM);
	return 0;
}

/* libslirp would take both, and serve the one. */
static bool has_rule(const struct user_net *n, const struct user_guestfwd *f)
{
	for (unsigned i = 0; i < n->n_guestfwd; i++) {
		const struct user_guestfwd *g = &n->guestfwd[i].fwd;

		if (g != f && g->addr == f->addr && g->port == f->port)
			return true;
	}
	return false;
}

static int take_guestfwd(const char *text, struct user_net *n, struct error *err)
{
	struct user_guestfwd_rule *r = &n->guestfwd[n->n_guestfwd];
	int rc;

	if (n->n_guestfwd == USER_GUESTFWD_MAX)
		return fail(err, ENOSPC, "guestfwd=%.64s: too many rules; at most %d", text, USER_GUESTFWD_MAX);
	if (!n->config.ipv4)
		return fail(err, EINVAL, "guestfwd=%.64s: needs IPv4, which is off; add ipv4=on", text);
	r->text = strdup(text);
	if (!r->text)
		return fail(err, ENOMEM, "no memory");
	r->fwd.index = (uint16_t)n->n_guestfwd++;
	rc = parse_guestfwd(r->text, r, err);
	if (!rc && has_rule(n, &r->fwd))
		rc = fail(err, EEXIST, "this address and port have a rule already; choose another");
	if (rc)
		error_prefix(err, "guestfwd=%.127s: ", text);
	return rc;
}

int user_rules_resolve(const struct user_opts *o, struct user_net *n, struct error *err)
{
	int rc = 0;

	for (unsigned i = 0; !rc && i < o->hostfwd.n; i++)
		rc = take_hostfwd(o->hostfwd.v[i], n, err);
	for (unsigned i = 0; !rc && i < o->guestfwd.n; i++)
		rc = take_guestfwd(o->guestfwd.v[i], n, err);
	return rc;
}
