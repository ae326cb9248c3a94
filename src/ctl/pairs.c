/* SPDX-License-Identifier: BSD-2-Clause */
/* Option lists that are made or changed by the program. */
#include "ctl/pairs.h"

#include <errno.h>
#include <stdlib.h>

const char *pair_peek(const struct opt_list *l, const char *key)
{
	for (unsigned i = l->n; i-- > 0;) {
		if (!l->v[i].taken && !strcmp(l->v[i].key, key))
			return l->v[i].value;
	}
	return NULL;
}

int pair_add(struct opt_list *l, const char *key, const char *value, struct error *err)
{
	struct opt_pair *v = realloc(l->v, (l->n + 1) * sizeof(*v));
	struct opt_pair pair = { .key = strdup(key), .value = strdup(value) };

	if (v)
		l->v = v;
	if (!v || !pair.key || !pair.value) {
		free(pair.key);
		free(pair.value);
		return fail(err, ENOMEM, "out of memory");
	}
	l->v[l->n++] = pair;
	return 0;
}

int pair_add_front(struct opt_list *l, const char *key, const char *value, struct error *err)
{
	struct opt_pair pair;
	int rc = pair_add(l, key, value, err);

	if (rc < 0)
		return rc;
	pair = l->v[l->n - 1];
	memmove(&l->v[1], &l->v[0], (l->n - 1) * sizeof(*l->v));
	l->v[0] = pair;
	return 0;
}

int pair_move_rest(struct opt_list *from, struct opt_list *to, struct error *err)
{
	for (unsigned i = 0; i < from->n; i++) {
		struct opt_pair *p = &from->v[i];
		int rc;

		if (p->taken)
			continue;
		rc = pair_add(to, p->key, p->value, err);
		if (rc < 0)
			return rc;
		to->v[to->n - 1].bare = p->bare;
		p->taken = true;
	}
	return 0;
}
