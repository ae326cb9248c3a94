/* SPDX-License-Identifier: BSD-2-Clause */
/* Making character devices by the table of their types, and finding them by their ids. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "char/type.h"

#define NAMES_MAX 32

static const struct chardev_type *const *types;
static struct list devices = LIST_INIT(devices);
static struct loop *main_loop;

void chardev_set_main_loop(struct loop *l)
{
	main_loop = l;
}

struct loop *chardev_main_loop(void)
{
	return main_loop;
}

/* ---- types ---- */

void chardev_types_init(const struct chardev_type *const *table)
{
	types = table;
}

static const struct chardev_type *find_type(const char *name, struct error *err)
{
	const char *names[NAMES_MAX], *near;
	unsigned n = 0;

	for (const struct chardev_type *const *t = types; t && *t; t++) {
		if (!strcmp((*t)->name, name) && (*t)->unsupported) {
			fail(err, ENOTSUP, "backend=%s is not offered; %s", name, (*t)->unsupported);
			return NULL;
		}
		if (!strcmp((*t)->name, name))
			return *t;
		if (!(*t)->unsupported && n < NAMES_MAX)
			names[n++] = (*t)->name;
	}
	near = nearest_name(name, names, n);
	if (near)
		fail(err, ENOENT, "backend=%.64s: there is no such character device; did you mean \"%s\"?", name, near);
	else
		fail(err, ENOENT, "backend=%.64s: there is no such character device; -chardev help lists them", name);
	return NULL;
}

void chardev_help(FILE *out)
{
	fprintf(out, "Available chardev backend types:\n");
	for (const struct chardev_type *const *t = types; t && *t; t++) {
		if (!(*t)->unsupported)
			fprintf(out, "%-12s %s\n", (*t)->name, (*t)->help);
	}
}

/* ---- options of all types ---- */

struct common_opts {
	bool mux, logappend;
	char *logfile;
};

static const struct opt common_keys[] = {
	OPT_F(struct common_opts, mux, "mux", OPT_BOOL, .def = "off",
	      .help = "several front ends on one device; not offered"),
	OPT_F(struct common_opts, logfile, "logfile", OPT_STR, .arg = "path",
	      .help = "copy of the output; not offered"),
	OPT_F(struct common_opts, logappend, "logappend", OPT_BOOL, .def = "off", .help = "as logfile"),
	OPT_END,
};

int chardev_type_help(const char *type, FILE *out, struct error *err)
{
	const struct chardev_type *t = find_type(type, err);

	if (!t)
		return -ENOENT;
	fprintf(out, "%s options:\n", t->name);
	opts_help(out, t->opts);
	opts_help(out, common_keys);
	return 0;
}

static int check_common(struct opt_list *l, struct error *err)
{
	struct common_opts o = { 0 };
	int rc = opts_defaults(common_keys, &o, err) ?: opts_apply(common_keys, l, &o, true, err);

	if (rc == 0 && o.mux)
		rc = fail(err, ENOTSUP, "mux=on: a character device has one front end here; make one for each");
	if (rc == 0 && o.logfile)
		rc = fail(err, ENOTSUP, "logfile=%.200s: not offered; file is a device that writes a file", o.logfile);
	opts_free(common_keys, &o);
	return rc;
}

/* As QEMU had it: "nowait" is wait=off. */
static int spell_out(struct opt_list *l, const struct opt *table, struct error *err)
{
	for (unsigned i = 0; i < l->n; i++) {
		struct opt_pair *p = &l->v[i];
		const struct opt *o = strncmp(p->key, "no", 2) ? NULL : opt_find(table, p->key + 2);
		char *off;

		if (!p->bare || opt_find(table, p->key) || !o || (o->kind != OPT_BOOL && o->kind != OPT_ONOFFAUTO))
			continue;
		off = strdup("off");
		if (!off)
			return fail(err, ENOMEM, "out of memory");
		free(p->value);
		p->value = off;
		memmove(p->key, p->key + 2, strlen(p->key + 2) + 1);
	}
	return 0;
}

/* ---- making ---- */

static void destroy(struct chardev *c)
{
	mutex_destroy(&c->lock);
	free(c->id);
	free(c);
}

static struct chardev *new_device(const struct chardev_type *t, const char *id, const char *label)
{
	struct chardev *c = calloc(1, t->size);

	if (!c)
		return NULL;
	c->type = t;
	c->in = c->out = -1;
	mutex_init(&c->lock);
	list_init(&c->node);
	snprintf(c->label, sizeof(c->label), "%s", label);
	c->id = id ? strdup(id) : NULL;
	if (!id || c->id)
		return c;
	destroy(c);
	return NULL;
}

static int open_device(struct chardev *c, struct opt_list *l, void *opts, struct error *err)
{
	const struct opt *table = c->type->opts;
	const struct opt *const tables[] = { table, common_keys, NULL };

	return spell_out(l, table, err)			     ?:
		       opts_defaults(table, opts, err)	     ?:
		       opts_apply(table, l, opts, true, err) ?:
		       check_common(l, err)		     ?:
		       opts_reject_rest(l, tables, err)	     ?:
							       c->type->open(c, opts, err);
}

/* Make one of a list without backend and id. */
static int make(const struct chardev_type *t, const char *id, const char *label, struct opt_list *l,
		struct chardev **out, struct error *err)
{
	struct chardev *c = new_device(t, id, label);
	void *opts = calloc(1, MAX(t->opts_size, (size_t)1));
	int rc = c && opts ? open_device(c, l, opts, err) : fail(err, ENOMEM, "out of memory");

	if (opts)
		opts_free(t->opts, opts);
	free(opts);
	if (rc < 0 && c)
		destroy(c);
	else if (rc == 0)
		*out = c;
	return rc;
}

static int check_id(const char *id, struct error *err)
{
	if (!id)
		return fail(err, EINVAL, "id= is missing; give the device a name that others refer to, id=char0");
	if (!id_wellformed(id))
		return fail(err, EINVAL, "id=%.64s: an id is a letter, then letters, digits, '-', '.' and '_'", id);
	if (chardev_find(id))
		return fail(err, EEXIST, "id=%s: this id is taken by another -chardev; choose a different one", id);
	return 0;
}

int chardev_add(struct opt_list *l, struct error *err)
{
	const char *name = opt_list_take(l, "backend"), *id = opt_list_take(l, "id");
	const struct chardev_type *t;
	struct chardev *c;
	char label[160];
	int rc;

	if (!name)
		return fail(err, EINVAL, "the type is missing; -chardev help lists them");
	t = find_type(name, err);
	if (!t)
		return -ENOENT;
	rc = check_id(id, err);
	if (rc < 0)
		return rc;
	snprintf(label, sizeof(label), "chardev %s", id);
	rc = make(t, id, label, l, &c, err);
	if (rc == 0)
		list_append(&devices, &c->node);
	return rc;
}

/* ---- one-word forms ---- */

/* A value for a list of options: its commas doubled. Allocated, or NULL. */
static char *quote(const char *value)
{
	char *quoted = malloc(2 * strlen(value) + 1), *to = quoted;

	if (!quoted)
		return NULL;
	do {
		*to++ = *value;
		if (*value == ',')
			*to++ = ',';
	} while (*value++);
	return quoted;
}

/* "file:a,b" has one path; it becomes "path=a,,b". */
static char *path_text(const char *path)
{
	char *quoted = quote(path), *text = NULL;

	if (quoted && asprintf(&text, "path=%s", quoted) < 0)
		text = NULL;
	free(quoted);
	return text;
}

/* "[host]:port,..." becomes "host=...,port=...,...". */
static char *tcp_text(const char *spec, struct error *err)
{
	size_t len = strcspn(spec, ","), host;
	const char *colon = memrchr(spec, ':', len);
	char *text;

	if (!colon || colon + 1 == spec + len) {
		fail(err, EINVAL, "expected tcp:[host]:port[,server=on][,wait=off]...");
		return NULL;
	}
	host = (size_t)(colon - spec);
	if (host > 2 && spec[0] == '[' && spec[host - 1] == ']')
		return asprintf(&text, "host=%.*s,port=%s", (int)host - 2, spec + 1, colon + 1) < 0 ? NULL : text;
	return asprintf(&text, "host=%.*s,port=%s", (int)host, spec, colon + 1) < 0 ? NULL : text;
}

static const struct {
	const char *word; /* with ':' at the end: something follows */
	const char *backend;
} forms[] = {
	{ "stdio", "stdio" }, { "mon:stdio", "stdio" }, { "null", "null" },    { "pty", "pty" },
	{ "file:", "file" },  { "pipe:", "pipe" },	{ "unix:", "socket" }, { "tcp:", "socket" },
};

/* What QEMU has beside them, by its first letters. */
static const struct {
	const char *word, *instead;
} refused[] = {
	{ "telnet:", "plain bytes are sent by tcp:[HOST]:PORT, as socat and nc do" },
	{ "websocket:", "plain bytes are sent by tcp:[HOST]:PORT, as socat and nc do" },
	{ "udp:", "use tcp:[HOST]:PORT or unix:PATH" },
	{ "vc", "there is no display; use stdio or pty" },
	{ "con:", "use stdio or pty" },
	{ "/dev/", "let socat stand between the host's serial port and unix:PATH" },
	{ "msmouse", "there is no mouse" },
	{ "braille", "there is no display" },
};

static char *form_text(const char *word, const char *rest, struct error *err)
{
	if (!strcmp(word, "tcp:"))
		return tcp_text(rest, err);
	if (!strcmp(word, "unix:"))
		return *rest ? strdup(rest) : strdup("path=");
	return word[strlen(word) - 1] == ':' ? path_text(rest) : strdup("");
}

static int make_form(unsigned form, const char *rest, const char *label, struct chardev **out, struct error *err)
{
	const struct chardev_type *t = find_type(forms[form].backend, err);
	struct opt_list l = { 0 };
	char *text;
	int rc;

	if (!t)
		return -ENOENT;
	fail(err, ENOMEM, "out of memory");
	text = form_text(forms[form].word, rest, err);
	if (!text)
		return -EINVAL;
	rc = opt_list_parse(text, "path", &l, err);
	if (rc == 0)
		rc = make(t, NULL, label, &l, out, err);
	opt_list_free(&l);
	free(text);
	return rc;
}

static int open_spec(const char *spec, const char *label, struct chardev **out, struct error *err)
{
	if (!strncmp(spec, "chardev:", 8)) {
		*out = chardev_find(spec + 8);
		if (*out)
			return 0;
		return fail(err, ENOENT, "there is no -chardev with id=%.64s; add -chardev type,id=%.64s", spec + 8,
			    spec + 8);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(forms); i++) {
		size_t len = strlen(forms[i].word);

		if (forms[i].word[len - 1] == ':' ? !strncmp(spec, forms[i].word, len) : !strcmp(spec, forms[i].word))
			return make_form(i, spec + len, label, out, err);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(refused); i++) {
		if (!strncmp(spec, refused[i].word, strlen(refused[i].word)))
			return fail(err, ENOTSUP, "not offered; %s", refused[i].instead);
	}
	return fail(err, EINVAL,
		    "unknown; allowed are stdio, file:PATH, unix:PATH[,server=on|off][,wait=on|off], "
		    "tcp:[HOST]:PORT[,...], pipe:PATH, pty, chardev:ID, null, none");
}

int chardev_open(const char *option, const char *spec, struct chardev **out, struct error *err)
{
	char label[160];
	int rc;

	*out = NULL;
	snprintf(label, sizeof(label), "%s %s", option, spec);
	if (!strcmp(spec, "none"))
		return 0;
	rc = open_spec(spec, label, out, err);
	if (rc < 0)
		error_prefix(err, "%s %.300s: ", option, spec);
	return rc;
}

/* ---- finding and freeing ---- */

struct chardev *chardev_find(const char *id)
{
	struct chardev *c;

	list_for_each(c, &devices, node) {
		if (!strcmp(c->id, id))
			return c;
	}
	return NULL;
}

int chardev_named(const char *option, const char *id, struct chardev **c, struct error *err)
{
	*c = id ? chardev_find(id) : NULL;
	if (id && !*c)
		return fail(err, ENOENT, "%s=%.64s: there is no such character device; add -chardev type,id=%.64s",
			    option, id, id);
	return 0;
}

static void free_device(struct chardev *c)
{
	c->type->close(c);
	list_remove(&c->node);
	destroy(c);
}

void chardev_close(struct chardev *c)
{
	if (!c || c->id)
		return;
	chardev_detach(c);
	free_device(c);
}

int chardev_del(const char *id, struct error *err)
{
	struct chardev *c = chardev_find(id);

	if (!c)
		return fail(err, ENOENT, "there is no character device with the id \"%.64s\"", id);
	if (*c->user)
		return fail(err, EBUSY, "%s is in use by %s", c->label, c->user);
	free_device(c);
	return 0;
}

void chardev_free_all(void)
{
	while (!list_empty(&devices)) {
		struct chardev *c = list_entry(devices.next, struct chardev, node);

		chardev_detach(c);
		free_device(c);
	}
}
