/* SPDX-License-Identifier: BSD-2-Clause */
/* What every unit test includes: cmocka and its prerequisites. */
#ifndef UNIT_H
#define UNIT_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* base/error.h has a function of this name; tests say assert_...(), with print_error() before. */
#undef fail

#endif
