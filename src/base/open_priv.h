/* SPDX-License-Identifier: BSD-2-Clause */
/* Between open.c and open_socket.c. */
#ifndef BASE_OPEN_PRIV_H
#define BASE_OPEN_PRIV_H

#include "base/open.h"

int open_socket(const struct open_request *r, struct error *err);

#endif
