/* SPDX-License-Identifier: MIT */
/* ledger_page.c - how a ledger lies in the state.
 *
 * A head: the format (1), 8 octets of chance, then place and tag as texts, generation, epoch,
 * UIDVALIDITY, the highest UIDVALIDITY, UIDNEXT, EXISTS, HIGHESTMODSEQ, whether it is whole (0 or
 * 1), the source of ids, the edge, and how many rows the epoch has.
 *
 * A page: the format (1), then for each row its distance from the row before (of the first: from
 * the first UID that the page could hold), an octet that says what follows, and that: octets, exact
 * octets, retrieved_at, failed_at, marks, failures as numbers, id and name as texts. What is 0 or
 * empty is left out.
 *
 * Numbers and texts are those of pack.h. A row that was listed and no more takes some 4 octets, one
 * with a header hash some 30.
 */
#include "upstream/ledger_page.h"

#include <stdio.h>
#include <string.h>

#include "upstream/maildrop.h"
#include "upstream/pack.h"

enum { FORMAT = 1, ID_MAX = 255, HEX = 8 };

/* What a row has, in the order in which it follows. */
enum {
	HAS_OCTETS = 1,
	HAS_EXACT = 2,
	HAS_RETRIEVED = 4,
	HAS_FAILED = 8,
	HAS_MARKS = 16,
	HAS_FAILURES = 32,
	HAS_ID = 64,
	HAS_NAME = 128
};

/* --- keys --------------------------------------------------------------------------------- */

static bool is_key(int len)
{
	return len > 0 && len <= STATE_KEY;
}

bool ledger_key_head(char key[STATE_KEY + 1], const char *name)
{
	return is_key(snprintf(key, STATE_KEY + 1, "ledger\t%s\t", name));
}

bool ledger_key_epoch(char key[STATE_KEY + 1], const char *name, uint32_t epoch)
{
	return is_key(snprintf(key, STATE_KEY + 1, "ledger\t%s\t%08x\t", name, epoch));
}

bool ledger_key_page(char key[STATE_KEY + 1], const char *name, uint32_t epoch, uint32_t page)
{
	return is_key(snprintf(key, STATE_KEY + 1, "ledger\t%s\t%08x\t%08x", name, epoch, page));
}

static bool read_hex(const char *text, uint32_t *out)
{
	uint32_t value = 0;

	for (int i = 0; i < HEX; i++) {
		const char *digits = "0123456789abcdef";
		const char *at = text[i] ? strchr(digits, text[i]) : NULL;
		if (!at)
			return false;
		value = value << 4 | (uint32_t)(at - digits);
	}
	*out = value;
	return true;
}

bool ledger_key_read(const char *key, const char *name, uint32_t *epoch, uint32_t *page)
{
	char prefix[STATE_KEY + 1];

	if (!ledger_key_head(prefix, name))
		return false;
	size_t len = strlen(prefix);
	return strncmp(key, prefix, len) == 0 && strlen(key) == len + 2 * HEX + 1 &&
	       key[len + HEX] == '\t' && read_hex(key + len, epoch) &&
	       read_hex(key + len + HEX + 1, page);
}

/* --- head --------------------------------------------------------------------------------- */

bool ledger_head_pack(struct buf *buf, const struct ledger_head *head, uint64_t rows,
		      const unsigned char stamp[LEDGER_STAMP])
{
	uint64_t max = head->uidvalidity > head->uidvalidity_max ? head->uidvalidity
								 : head->uidvalidity_max;

	return pack_octet(buf, FORMAT) && buf_put(buf, stamp, LEDGER_STAMP) &&
	       pack_text(buf, head->place) && pack_text(buf, head->tag) &&
	       pack_number(buf, head->generation) && pack_number(buf, head->epoch) &&
	       pack_number(buf, head->uidvalidity) && pack_number(buf, max) &&
	       pack_number(buf, head->uidnext) && pack_number(buf, head->exists) &&
	       pack_number(buf, head->highestmodseq) && pack_number(buf, head->is_whole) &&
	       pack_number(buf, head->source) && pack_number(buf, head->edge) &&
	       pack_number(buf, rows);
}

/* A text of that length, or none. */
static void unpack_fixed(struct unpack *in, char *out, size_t len)
{
	size_t has;
	const char *text = unpack_text(in, 0, len, &has);

	if (text && (!has || has == len))
		memcpy(out, text, has);
	else
		in->is_bad = true;
}

bool ledger_head_unpack(struct ledger_head *head, uint64_t *rows, const void *octets, size_t len)
{
	struct unpack in = unpack_begin(octets, len);

	*head = (struct ledger_head){0};
	if (unpack_octet(&in) != FORMAT)
		return false;
	for (int i = 0; i < LEDGER_STAMP; i++)
		(void)unpack_octet(&in);
	unpack_fixed(&in, head->place, IDENTITY_PLACE);
	unpack_fixed(&in, head->tag, IDENTITY_TAG);
	head->generation = (uint32_t)unpack_number(&in, UINT32_MAX);
	head->epoch = (uint32_t)unpack_number(&in, UINT32_MAX);
	head->uidvalidity = unpack_number(&in, UINT64_MAX);
	head->uidvalidity_max = unpack_number(&in, UINT64_MAX);
	head->uidnext = (uint32_t)unpack_number(&in, UINT32_MAX);
	head->exists = (uint32_t)unpack_number(&in, UINT32_MAX);
	head->highestmodseq = unpack_number(&in, UINT64_MAX);
	head->is_whole = unpack_number(&in, 1);
	head->source = (uint8_t)unpack_number(&in, LEDGER_HEADER);
	head->edge = (uint32_t)unpack_number(&in, UINT32_MAX);
	*rows = unpack_number(&in, MAILDROP_MESSAGES);
	return unpack_is_whole(&in) && head->uidvalidity <= head->uidvalidity_max;
}

/* --- page --------------------------------------------------------------------------------- */

static unsigned what_it_has(const struct ledger_row *row)
{
	return (row->octets ? HAS_OCTETS : 0u) | (row->exact ? HAS_EXACT : 0u) |
	       (row->retrieved_at ? HAS_RETRIEVED : 0u) | (row->failed_at ? HAS_FAILED : 0u) |
	       (row->marks ? HAS_MARKS : 0u) | (row->failures ? HAS_FAILURES : 0u) |
	       (row->id ? HAS_ID : 0u) | (row->name ? HAS_NAME : 0u);
}

static bool pack_row(struct buf *buf, const struct ledger *ledger, const struct ledger_row *row)
{
	unsigned has = what_it_has(row);

	return pack_octet(buf, has) && (!(has & HAS_OCTETS) || pack_number(buf, row->octets)) &&
	       (!(has & HAS_EXACT) || pack_number(buf, row->exact)) &&
	       (!(has & HAS_RETRIEVED) || pack_number(buf, row->retrieved_at)) &&
	       (!(has & HAS_FAILED) || pack_number(buf, row->failed_at)) &&
	       (!(has & HAS_MARKS) || pack_number(buf, row->marks)) &&
	       (!(has & HAS_FAILURES) || pack_number(buf, row->failures)) &&
	       (!(has & HAS_ID) || pack_text(buf, ledger_text(ledger, row->id))) &&
	       (!(has & HAS_NAME) || pack_text(buf, ledger_text(ledger, row->name)));
}

bool ledger_page_pack(struct buf *buf, const struct ledger *ledger, const struct ledger_row *first,
		      size_t count)
{
	bool done = pack_octet(buf, FORMAT);
	uint32_t last = count ? first->uid / LEDGER_PAGE * LEDGER_PAGE : 0;

	for (size_t i = 0; done && i < count; i++) {
		done = pack_number(buf, first[i].uid - last) && pack_row(buf, ledger, first + i);
		last = first[i].uid;
	}
	return done;
}

bool ledger_is_uidl(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] < 0x21 || text[i] > 0x7e)
			return false;
	return len >= 1 && len <= UIDL_MAX;
}

/* A number that is there because it is not 0. */
static uint64_t unpack_some(struct unpack *in, bool is_there, uint64_t max)
{
	if (!is_there)
		return 0;
	uint64_t number = unpack_number(in, max);
	if (!number)
		in->is_bad = true;
	return number;
}

static uint32_t unpack_kept(struct unpack *in, struct ledger *ledger, size_t max, bool is_name,
			    bool *is_full)
{
	size_t len;
	const char *text = unpack_text(in, 1, max, &len);

	if (!text || (is_name && !ledger_is_uidl(text, len))) {
		in->is_bad = true;
		return 0;
	}
	uint32_t offset = ledger_text_add(ledger, text, len);
	*is_full = *is_full || !offset;
	return offset;
}

static void unpack_row(struct unpack *in, struct ledger *ledger, struct ledger_row *row,
		       bool *is_full)
{
	unsigned has = unpack_octet(in);

	row->octets = unpack_some(in, has & HAS_OCTETS, UINT64_MAX);
	row->exact = unpack_some(in, has & HAS_EXACT, UINT64_MAX);
	row->retrieved_at = (uint32_t)unpack_some(in, has & HAS_RETRIEVED, UINT32_MAX);
	row->failed_at = (uint32_t)unpack_some(in, has & HAS_FAILED, UINT32_MAX);
	row->marks = (uint8_t)unpack_some(in, has & HAS_MARKS, UINT8_MAX);
	row->failures = (uint8_t)unpack_some(in, has & HAS_FAILURES, UINT8_MAX);
	if (has & HAS_ID)
		row->id = unpack_kept(in, ledger, ID_MAX, false, is_full);
	if (has & HAS_NAME)
		row->name = unpack_kept(in, ledger, UIDL_MAX, true, is_full);
}

bool ledger_page_unpack(struct ledger *ledger, uint32_t page, const void *octets, size_t len,
			bool *is_full)
{
	struct unpack in = unpack_begin(octets, len);
	uint64_t base = (uint64_t)page * LEDGER_PAGE, last = base;

	*is_full = false;
	if (unpack_octet(&in) != FORMAT || base > UINT32_MAX)
		return false;
	/* A page without a row is not kept: it would be erased. */
	bool is_first = true;
	do {
		uint64_t uid = last + unpack_number(&in, LEDGER_PAGE - 1);
		if (in.is_bad || !uid || uid >= base + LEDGER_PAGE || (uid == last && !is_first))
			return false;
		struct ledger_row *row = ledger_append(ledger, (uint32_t)uid);
		if (!row) {
			*is_full = true;
			return true;
		}
		unpack_row(&in, ledger, row, is_full);
		last = uid;
		is_first = false;
	} while (!in.is_bad && in.at != in.end && !*is_full);
	return !in.is_bad;
}
