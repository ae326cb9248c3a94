/* SPDX-License-Identifier: BSD-2-Clause */
/* The commands of guestfwd rules that run now. */
#include "backend/user_command.h"

#include <unistd.h>

#include "base/log.h"

static void end(struct user_command *k)
{
	char how[64];

	watch_del(&k->watch);
	user_child_end(&k->child, how, sizeof(how));
	k->used = false;
}

static void on_end(struct watch *w, uint32_t events)
{
	(void)events;
	end(container_of(w, struct user_command, watch));
}

static struct user_command *free_slot(struct user_commands *c)
{
	for (unsigned i = 0; i < USER_COMMANDS_MAX; i++) {
		if (!c->slot[i].used)
			return &c->slot[i];
	}
	return NULL;
}

void user_commands_run(struct user_commands *c, const char *command, int fd)
{
	struct user_command *k = free_slot(c);
	struct error err;

	if (!k) {
		log_limited(LOG_WARN, "guestfwd: %d commands run already; the guest's connection is closed",
			    USER_COMMANDS_MAX);
	} else if (user_spawn_command(&k->child, command, fd, &err)) {
		log_limited(LOG_WARN, "guestfwd: %s", err.msg);
	} else {
		k->used = true;
		watch_init(&k->watch, "guestfwd command", k->child.pidfd, on_end);
		if (k->child.pidfd < 0 || watch_add(c->loop, &k->watch, EPOLLIN))
			end(k);
	}
	close(fd);
}

void user_commands_end(struct user_commands *c)
{
	for (unsigned i = 0; i < USER_COMMANDS_MAX; i++) {
		if (c->slot[i].used)
			end(&c->slot[i]);
	}
}
