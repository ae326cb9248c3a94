/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frame accounts for whoever checks them: the environment variable VWIRE_ACCOUNTS=1 asks for them at exit, SIGUSR2 for
 * the state of all clients and loops meanwhile.
 */
#ifndef CTL_ACCOUNT_H
#define CTL_ACCOUNT_H

/*
 * One line on stderr for each client and direction, "account {...}" with what net_account_json() gives. Main thread;
 * all clients are quiesced, so that the figures are exact.
 */
void accounts_print(void);

/*
 * One line on stderr for each client, "client {...}" with what net_describe() gives, and for each loop, "loop {...}" with
 * its counters, as they are now. Main thread.
 */
void accounts_show(void);

#endif
