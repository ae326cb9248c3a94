/* SPDX-License-Identifier: BSD-2-Clause */
/* Running the user's programs (script=, downscript=, helper=). */
#ifndef BACKEND_SCRIPT_H
#define BACKEND_SCRIPT_H

#include <spawn.h>
#include <sys/types.h>

#include "base/error.h"

#define SCRIPT_TIMEOUT_MS 30000

/*
 * Run `path arg` without a shell and wait for it: standard input is empty, standard output goes where our errors go.
 * After timeout_ms it is killed, with what it started. 0 only if it ended with status 0; else -errno, and the text says
 * what happened. Main thread.
 */
int script_run(const char *path, const char *arg, unsigned timeout_ms, struct error *err) __must_check;

/*
 * The same for any arguments (argv[0] is the path, NULL at the end). The program inherits keep_fd too, if it is not -1.
 */
int program_run(char *const argv[], int keep_fd, unsigned timeout_ms, struct error *err) __must_check;

/*
 * Start a program that runs beside us, with the signal mask and the signals of a shell's child: argv[0] is looked for in
 * PATH; files says what becomes of descriptors, and is destroyed; flags are of posix_spawnattr_setflags(), for its session
 * or group. 0 and its pid, which the caller waits for, or an errno and 0. Main thread.
 */
int program_spawn(pid_t *pid, char *const argv[], posix_spawn_file_actions_t *files, short flags) __must_check;

#endif
