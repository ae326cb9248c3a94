/* SPDX-License-Identifier: BSD-2-Clause */
/* -help, -version, and the option part of the manual page, from the same tables that drive parsing. */
#ifndef CTL_HELP_H
#define CTL_HELP_H

#include "ctl/options.h"

cmd_fn help_print, help_version, help_man;

#endif
