/* SPDX-License-Identifier: BSD-2-Clause */
/* See the header. */
#include "char/unix_spec.h"

#include "base/open.h"
#include "base/opts.h"

static const struct opt unix_table[] = {
	OPT_F(struct unix_spec, path, "path", OPT_STR, .required = true, .help = "path of the socket"),
	OPT_F(struct unix_spec, server, "server", OPT_BOOL, .def = "off", .help = "listen, do not connect"),
	OPT_F(struct unix_spec, wait, "wait", OPT_BOOL, .def = "on",
	      .help = "a server waits for the connection at start"),
	OPT_END,
};

int unix_spec_parse(const char *text, struct unix_spec *s, struct error *err)
{
	static const struct opt *const tables[] = { unix_table, NULL };
	struct opt_list l;
	int rc;

	*s = (struct unix_spec){ 0 };
	rc = opt_list_parse(text, "path", &l, err);
	if (rc < 0)
		return rc;
	rc = opts_defaults(unix_table, s, err) ?: opts_apply(unix_table, &l, s, true, err);
	if (rc == 0)
		rc = opts_reject_rest(&l, tables, err);
	opt_list_free(&l);
	return rc;
}

void unix_spec_free(struct unix_spec *s)
{
	opts_free(unix_table, s);
}

int unix_spec_open(const struct unix_spec *s, struct error *err)
{
	struct open_request r = {
		.kind = OPEN_SOCKET,
		.domain = AF_UNIX,
		.type = SOCK_STREAM,
		.take_over = true,
		.backlog = s->server,
	};
	int rc = endpoint_unix(s->server ? &r.local : &r.remote, s->path, err);

	if (rc < 0)
		return rc;
	rc = open_request(&r, err);
	if (rc < 0 && !s->server && err)
		return fail(err, -rc, "%.500s; server=on makes the socket here", err->msg);
	return rc;
}
