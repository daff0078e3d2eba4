/* SPDX-License-Identifier: MIT */
/* ledger_page.h - how a ledger's head and pages look in the state, and what the files of the ledger
 * share. For them alone. */
#ifndef POPGATE_LEDGER_PAGE_H
#define POPGATE_LEDGER_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/buf.h"
#include "upstream/ledger.h"

enum { LEDGER_STAMP = 8 }; /* octets of chance in a head: no two saves write the same one */

/* Keys, NUL ended; false if the name is too long for one. All that belongs to a name begins with the
 * key of its head, which so is the first. */
bool ledger_key_head(char key[STATE_KEY + 1], const char *name);
bool ledger_key_page(char key[STATE_KEY + 1], const char *name, uint32_t epoch, uint32_t page);
/* What all pages of an epoch begin with. */
bool ledger_key_epoch(char key[STATE_KEY + 1], const char *name, uint32_t epoch);
/* Epoch and page out of the key of a page; false if it is none of that name. */
bool ledger_key_read(const char *key, const char *name, uint32_t *epoch, uint32_t *page);

/* `rows`: how many the epoch has in all its pages. Both false if memory is out. */
bool ledger_head_pack(struct buf *, const struct ledger_head *, uint64_t rows,
		      const unsigned char stamp[LEDGER_STAMP]);
bool ledger_page_pack(struct buf *, const struct ledger *, const struct ledger_row *first,
		      size_t count);

/* False if anything is odd. */
bool ledger_head_unpack(struct ledger_head *, uint64_t *rows, const void *octets, size_t len);
/* Adds the rows to those of the ledger, behind all that are there. `*is_full` instead of a false
 * that speaks of the octets: memory is out. */
bool ledger_page_unpack(struct ledger *, uint32_t page, const void *octets, size_t len,
			bool *is_full);

/* In ledger.c: no rows and no texts any more. Where a UID stands or would stand. A page is among the
 * dirty ones (false: memory is out). */
void ledger_forget(struct ledger *);
size_t ledger_place(const struct ledger *, uint32_t uid);
bool ledger_touch_page(struct ledger *, uint32_t page);
/* A new last row; NULL if memory is out. A text at the end of `texts`, 0 likewise. */
struct ledger_row *ledger_append(struct ledger *, uint32_t uid);
uint32_t ledger_text_add(struct ledger *, const char *text, size_t len);

/* A name that may be shown as a UIDL (E-01): 1 to 70 octets of 0x21-0x7E. */
bool ledger_is_uidl(const char *text, size_t len);

#endif
