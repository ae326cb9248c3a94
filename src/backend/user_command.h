/* SPDX-License-Identifier: BSD-2-Clause */
/* The commands of guestfwd rules that run now. Main thread. */
#ifndef BACKEND_USER_COMMAND_H
#define BACKEND_USER_COMMAND_H

#include "backend/user_spawn.h"
#include "loop/loop.h"

#define USER_COMMANDS_MAX 64 /* at a time: a guest decides how many it starts */

struct user_command {
	struct user_child child;
	struct watch watch;
	bool used;
};

struct user_commands {
	struct loop *loop;
	struct user_command slot[USER_COMMANDS_MAX];
};

/* Run the command with connection fd (taken) as its standard input and output. Failure is said in the log. */
void user_commands_run(struct user_commands *c, const char *command, int fd);
/* Kill those that still run. */
void user_commands_end(struct user_commands *c);

#endif
