/* SPDX-License-Identifier: MIT */
/* ledger.c - the rows of a mailbox in memory: one sorted array, one store of texts, and the list of
 * pages that differ from the state. How they come from there and go there: ledger_state.c.
 */
#include "upstream/ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "upstream/ledger_page.h"
#include "upstream/maildrop.h"

enum {
	TEXTS_MAX = 1 << 30, /* octets of all ids and names of a mailbox */
	ID_MAX = 255,
};

/* --- rows --------------------------------------------------------------------------------- */

void ledger_init(struct ledger *ledger, const char *name)
{
	*ledger = (struct ledger){.name = text_dup(name)};
	buf_init(&ledger->texts, TEXTS_MAX);
}

void ledger_forget(struct ledger *ledger)
{
	free(ledger->rows);
	free(ledger->dirty);
	ledger->rows = NULL;
	ledger->dirty = NULL;
	ledger->count = ledger->room = ledger->dirty_count = ledger->dirty_room = 0;
	ledger->elsewhere = 0;
	buf_fini(&ledger->texts);
}

void ledger_fini(struct ledger *ledger)
{
	ledger_forget(ledger);
	free(ledger->name);
	*ledger = (struct ledger){0};
}

/* Where a UID stands or would stand. */
size_t ledger_place(const struct ledger *ledger, uint32_t uid)
{
	size_t low = 0, high = ledger->count;

	if (!high || ledger->rows[high - 1].uid < uid)
		return high;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (ledger->rows[mid].uid < uid)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct ledger_row *ledger_find(const struct ledger *ledger, uint32_t uid)
{
	size_t at = ledger_place(ledger, uid);

	return at < ledger->count && ledger->rows[at].uid == uid ? ledger->rows + at : NULL;
}

/* Room for one more; growth is by half, for a large mailbox is near its size at once. */
static bool grow(void **array, size_t count, size_t *room, size_t size)
{
	if (count < *room)
		return true;
	size_t more = *room + *room / 2 + 64;
	void *grown = reallocarray(*array, more, size);
	if (!grown)
		return false;
	*array = grown;
	*room = more;
	return true;
}

/* True if the page is among the dirty ones now. */
bool ledger_touch_page(struct ledger *ledger, uint32_t page)
{
	size_t at = ledger->dirty_count;

	while (at && ledger->dirty[at - 1] > page)
		at--;
	if (at && ledger->dirty[at - 1] == page)
		return true;
	void *dirty = ledger->dirty;
	if (!grow(&dirty, ledger->dirty_count, &ledger->dirty_room, sizeof *ledger->dirty))
		return false;
	ledger->dirty = dirty;
	memmove(ledger->dirty + at + 1, ledger->dirty + at,
		(ledger->dirty_count - at) * sizeof *ledger->dirty);
	ledger->dirty[at] = page;
	ledger->dirty_count++;
	return true;
}

static struct ledger_row *insert(struct ledger *ledger, size_t at, uint32_t uid)
{
	void *rows = ledger->rows;

	if (ledger->count >= MAILDROP_MESSAGES ||
	    !grow(&rows, ledger->count, &ledger->room, sizeof *ledger->rows))
		return NULL;
	ledger->rows = rows;
	if (at < ledger->count)
		memmove(ledger->rows + at + 1, ledger->rows + at,
			(ledger->count - at) * sizeof *ledger->rows);
	ledger->rows[at] = (struct ledger_row){.uid = uid};
	ledger->count++;
	return ledger->rows + at;
}

bool ledger_reserve(struct ledger *ledger, size_t count)
{
	if (count <= ledger->room)
		return true;
	void *rows = reallocarray(ledger->rows, count, sizeof *ledger->rows);
	if (!rows)
		return false;
	ledger->rows = rows;
	ledger->room = count;
	return true;
}

struct ledger_row *ledger_append(struct ledger *ledger, uint32_t uid)
{
	return insert(ledger, ledger->count, uid);
}

struct ledger_row *ledger_row(struct ledger *ledger, uint32_t uid)
{
	size_t at = ledger_place(ledger, uid);

	if (!ledger_touch_page(ledger, uid / LEDGER_PAGE))
		return NULL;
	if (at < ledger->count && ledger->rows[at].uid == uid)
		return ledger->rows + at;
	return insert(ledger, at, uid);
}

/* The pages of a mailbox are few octets to remember: dying is right where they cannot be. */
void ledger_touch(struct ledger *ledger, uint32_t uid)
{
	if (ledger_touch_page(ledger, uid / LEDGER_PAGE))
		return;
	ledger->dirty_room = ledger->dirty_count + 64;
	ledger->dirty = mem_resize(ledger->dirty, ledger->dirty_room, sizeof *ledger->dirty);
	(void)ledger_touch_page(ledger, uid / LEDGER_PAGE);
}

void ledger_remove(struct ledger *ledger, uint32_t uid)
{
	size_t at = ledger_place(ledger, uid);

	if (at >= ledger->count || ledger->rows[at].uid != uid)
		return;
	ledger_touch(ledger, uid);
	ledger->count--;
	memmove(ledger->rows + at, ledger->rows + at + 1,
		(ledger->count - at) * sizeof *ledger->rows);
}

size_t ledger_retain(struct ledger *ledger, bool (*keep)(void *arg, const struct ledger_row *),
		     void *arg)
{
	size_t kept = 0, before = ledger->count;

	for (size_t i = 0; i < before; i++) {
		if (keep(arg, ledger->rows + i))
			ledger->rows[kept++] = ledger->rows[i];
		else
			ledger_touch(ledger, ledger->rows[i].uid);
	}
	ledger->count = kept;
	return before - kept;
}

/* --- texts -------------------------------------------------------------------------------- */

uint32_t ledger_text_add(struct ledger *ledger, const char *text, size_t len)
{
	struct buf *texts = &ledger->texts;
	size_t at = buf_len(texts) ? buf_len(texts) : 1;
	char *room = buf_room(texts, len + 2);

	if (!room)
		return 0;
	if (!buf_len(texts)) {
		*room++ = '\0';
		buf_added(texts, 1);
	}
	memcpy(room, text, len);
	room[len] = '\0';
	buf_added(texts, len + 1);
	return (uint32_t)at;
}

const char *ledger_text(const struct ledger *ledger, uint32_t offset)
{
	return offset ? buf_data(&ledger->texts) + offset : NULL;
}

/* What a row had before stays in `texts` until the ledger ends: it is read once and saved once. */
static bool set_text(struct ledger *ledger, struct ledger_row *row, uint32_t *at, const char *text)
{
	const char *old = ledger_text(ledger, *at);

	if (old && strcmp(old, text) == 0)
		return true;
	uint32_t offset = ledger_text_add(ledger, text, strlen(text));
	if (!offset)
		return false;
	*at = offset;
	ledger_touch(ledger, row->uid);
	return true;
}

bool ledger_set_id(struct ledger *ledger, struct ledger_row *row, const char *id)
{
	size_t len = strlen(id);

	return len && len <= ID_MAX && set_text(ledger, row, &row->id, id);
}

bool ledger_set_name(struct ledger *ledger, struct ledger_row *row, const char *name)
{
	return ledger_is_uidl(name, strlen(name)) && set_text(ledger, row, &row->name, name);
}

void ledger_uidl(const struct ledger *ledger, const struct ledger_row *row, const char *tag,
		 char *out)
{
	const char *name = ledger_text(ledger, row->name);

	if (name)
		snprintf(out, UIDL_MAX + 1, "%s", name);
	else
		snprintf(out, UIDL_MAX + 1, "%s.%llu.%u", tag,
			 (unsigned long long)ledger->head.uidvalidity, row->uid);
}

/* --- epochs ------------------------------------------------------------------------------- */

void ledger_begin_epoch(struct ledger *fresh, const struct ledger *old, const char *place,
			uint64_t uidvalidity)
{
	const struct ledger_head *was = &old->head;
	struct ledger_head head = {.generation = was->generation,
				   .epoch = was->epoch + 1,
				   .uidvalidity = uidvalidity,
				   .uidvalidity_max = was->uidvalidity_max};

	memcpy(head.place, place, strnlen(place, IDENTITY_PLACE));
	if (*was->place && uidvalidity <= was->uidvalidity_max)
		head.generation++;
	if (uidvalidity > head.uidvalidity_max)
		head.uidvalidity_max = uidvalidity;
	fresh->head = head;
	fresh->version = old->version;
	fresh->is_begun = true;
}
