/* SPDX-License-Identifier: MIT */
/* imap.h - one open mailbox on an IMAP server, as the files imap*.c share it. The world sees only
 * imap_ops (upstream.h). */
#ifndef POPGATE_IMAP_H
#define POPGATE_IMAP_H

#include "upstream/upstream.h"

/* Filled in by the driver: see imap_client.h for connection and login, imap_list.c, imap_fetch.c,
 * imap_update.c. */

#endif
