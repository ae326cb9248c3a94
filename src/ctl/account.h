/* SPDX-License-Identifier: BSD-2-Clause */
/* Frame accounts for whoever checks them: the environment variable VWIRE_ACCOUNTS=1 asks for them at exit. */
#ifndef CTL_ACCOUNT_H
#define CTL_ACCOUNT_H

/*
 * One line on stderr for each client and direction, "account {...}" with what net_account_json() gives. Main thread; all
 * clients are quiesced, so that the figures are exact.
 */
void accounts_print(void);

#endif
