/* SPDX-License-Identifier: MIT */
/* journal.c - records of promised deletions.
 *
 * A record, all of it numbers and texts of pack.h but the first octet: the format, since, tries,
 * UIDVALIDITY, place, where, mode, how many entries, and for each its distance from the UID before
 * (of the first: from 0), its octets, and in format 2 what it is recognised by. Deletions are often of
 * neighbours, so an entry of format 1, in which nothing has such an id, takes some four octets. An UPDATE
 * of more than ENTRIES_MAX deletions is written as several records of neighbouring numbers, all at once;
 * each can be read, replayed and erased without the others.
 *
 * The number of a record is made of its time and of chance, and is above those that are there; so
 * they are in the order in which deletions were promised, and one that was done and erased is not
 * given again. What another process wrote in the meantime is never overwritten.
 */
#include "upstream/journal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "upstream/maildrop.h"
#include "upstream/pack.h"

enum {
	FORMAT = 1,
	FORMAT_IDS = 2,
	NUMBER = 16,           /* hexadecimal digits */
	WHERE_MAX = 4096,      /* octets */
	MODE_MAX = 4096,       /* octets */
	CHANCE = 20,           /* low bits of a number */
	RECORDS_MAX = 1 << 20, /* of a name, or names in all */
	ENTRIES_MAX = 1 << 18, /* of a record */
	/* Octets of an entry at most: two numbers and a text. */
	ENTRY_MAX = 5 + 10 + 1 + IDENTITY_HASH,
	TRIES = 50, /* of something that somebody else keeps being faster at */
};

_Static_assert(ENTRIES_MAX *ENTRY_MAX + WHERE_MAX + MODE_MAX + 100 <= STATE_VALUE,
	       "a record fits into a value");

static struct err no_memory(void)
{
	return ERR(ERR_UPSTREAM, ENOMEM, "out of memory");
}

static struct err is_broken(void)
{
	return ERR(ERR_UPSTREAM, EBADMSG, "what is kept of deletions is damaged");
}

void journal_fini(struct journal *journal)
{
	free(journal->where);
	free(journal->mode);
	free(journal->entries);
	*journal = (struct journal){0};
}

void journal_free(struct journal *journals, size_t count)
{
	for (size_t i = 0; i < count; i++)
		journal_fini(&journals[i]);
	free(journals);
}

void journal_names_free(char **names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(names[i]);
	free(names);
}

/* --- keys --------------------------------------------------------------------------------- */

static bool make_prefix(char key[STATE_KEY + 1], const char *name)
{
	int len = snprintf(key, STATE_KEY + 1, "journal\t%s\t", name);

	return len > 0 && len + NUMBER <= STATE_KEY;
}

static bool make_key(char key[STATE_KEY + 1], const char *name, uint64_t number)
{
	if (!make_prefix(key, name))
		return false;
	snprintf(key + strlen(key), NUMBER + 1, "%016llx", (unsigned long long)number);
	return true;
}

/* The number at the end of a key, 0 if there is none. */
static uint64_t read_number(const char *digits)
{
	static const char hex[] = "0123456789abcdef";
	uint64_t number = 0;

	if (strlen(digits) != NUMBER || strspn(digits, hex) != NUMBER)
		return 0;
	for (; *digits; digits++)
		number = number << 4 | (uint64_t)(strchr(hex, *digits) - hex);
	return number;
}

/* --- records ------------------------------------------------------------------------------ */

static bool has_ids(const struct journal *journal)
{
	for (size_t i = 0; i < journal->count; i++)
		if (*journal->entries[i].id)
			return true;
	return false;
}

static bool pack(struct buf *buf, const struct journal *journal, unsigned format)
{
	uint32_t last = 0;
	bool done = pack_octet(buf, format) && pack_number(buf, journal->since) &&
		    pack_number(buf, journal->tries) && pack_number(buf, journal->uidvalidity) &&
		    pack_text(buf, journal->place) &&
		    pack_text(buf, journal->where ? journal->where : "") &&
		    pack_text(buf, journal->mode ? journal->mode : "") &&
		    pack_number(buf, journal->count);

	for (size_t i = 0; done && i < journal->count; i++) {
		done = pack_number(buf, journal->entries[i].uid - last) &&
		       pack_number(buf, journal->entries[i].octets) &&
		       (format == FORMAT || pack_text(buf, journal->entries[i].id));
		last = journal->entries[i].uid;
	}
	return done;
}

static char *unpack_dup(struct unpack *in, size_t max)
{
	size_t len;
	const char *text = unpack_text(in, 0, max, &len);

	return mem_dup(text, len);
}

static void unpack_id(struct unpack *in, char id[IDENTITY_HASH + 1])
{
	size_t len;
	const char *text = unpack_text(in, 0, IDENTITY_HASH, &len);

	if (text)
		memcpy(id, text, len);
}

static void unpack_entries(struct unpack *in, unsigned format, struct journal *journal)
{
	uint64_t uid = 0, count = unpack_number(in, MAILDROP_MESSAGES);

	/* Two octets an entry at least: a count that lies is not believed with memory. */
	if (!count || count > (uint64_t)(in->end - in->at) / 2) {
		in->is_bad = true;
		return;
	}
	journal->entries = mem_alloc((size_t)count * sizeof *journal->entries);
	journal->count = (size_t)count;
	for (size_t i = 0; i < count && !in->is_bad; i++) {
		uint64_t step = unpack_number(in, UINT32_MAX);
		uid += step;
		if (!step || uid > UINT32_MAX)
			in->is_bad = true;
		journal->entries[i].uid = (uint32_t)uid;
		journal->entries[i].octets = unpack_number(in, UINT64_MAX);
		if (format == FORMAT_IDS)
			unpack_id(in, journal->entries[i].id);
	}
}

/* False if anything is odd; the record is to be ended in any case. */
static bool unpack(struct journal *journal, const void *octets, size_t len)
{
	struct unpack in = unpack_begin(octets, len);
	unsigned format = unpack_octet(&in);
	size_t place_len;

	if (format != FORMAT && format != FORMAT_IDS)
		return false;
	journal->since = unpack_number(&in, UINT64_MAX);
	journal->tries = (uint32_t)unpack_number(&in, UINT32_MAX);
	journal->uidvalidity = unpack_number(&in, UINT64_MAX);
	const char *place = unpack_text(&in, IDENTITY_PLACE, IDENTITY_PLACE, &place_len);
	if (place)
		memcpy(journal->place, place, place_len);
	journal->where = unpack_dup(&in, WHERE_MAX);
	journal->mode = unpack_dup(&in, MODE_MAX);
	unpack_entries(&in, format, journal);
	return unpack_is_whole(&in);
}

/* --- reading ------------------------------------------------------------------------------ */

static bool visit_record(void *arg, const char *key, const void *value, size_t len,
			 uint64_t version)
{
	struct journal_reading *reading = arg;
	uint64_t number = read_number(key + strlen(reading->prefix));

	(void)version;
	if (!number || reading->count == RECORDS_MAX) {
		reading->is_bad = true;
		return false;
	}
	reading->highest = number;
	if (reading->is_count_only)
		return true;
	reading->journals =
		mem_resize(reading->journals, reading->count + 1, sizeof *reading->journals);
	struct journal *journal = &reading->journals[reading->count++];
	*journal = (struct journal){.number = number};
	reading->is_bad = !unpack(journal, value, len);
	return !reading->is_bad;
}

struct err journal_read_begin(struct journal_reading *reading, const char *name,
			      struct state_range *range)
{
	*reading = (struct journal_reading){0};
	if (!make_prefix(reading->prefix, name))
		return ERR(ERR_UPSTREAM, ENAMETOOLONG, "name too long");
	*range = (struct state_range){reading->prefix, visit_record, reading};
	return OK;
}

struct err journal_read_end(struct journal_reading *reading, struct err walked,
			    struct journal **out, size_t *count)
{
	struct err err = walked.kind || !reading->is_bad ? walked : is_broken();

	if (err.kind) {
		journal_free(reading->journals, reading->count);
		reading->journals = NULL;
		reading->count = 0;
	}
	*out = reading->journals;
	*count = reading->count;
	return err;
}

struct err journal_read(struct state_store *store, const struct env *env, const char *name,
			struct journal **out, size_t *count)
{
	struct journal_reading reading;
	struct state_range range;

	*out = NULL;
	*count = 0;
	TRY(journal_read_begin(&reading, name, &range));
	struct err err = store->ops->walk(store, env, &range, 1);
	return journal_read_end(&reading, err, out, count);
}

/* The highest number that a record of the name has, 0 without one. */
static struct err find_highest(struct state_store *store, const struct env *env, const char *name,
			       uint64_t *highest)
{
	struct journal_reading reading;
	struct state_range range;

	TRY(journal_read_begin(&reading, name, &range));
	reading.is_count_only = true;
	TRY(store->ops->walk(store, env, &range, 1));
	*highest = reading.highest;
	return reading.is_bad ? is_broken() : OK;
}

struct naming {
	char **names; /* owned */
	size_t count;
	bool is_bad;
};

static bool visit_name(void *arg, const char *key, const void *value, size_t len, uint64_t version)
{
	struct naming *naming = arg;
	const char *name = strchr(key, '\t') + 1;
	size_t name_len = strcspn(name, "\t");

	(void)value;
	(void)len;
	(void)version;
	if (!name_len || name[name_len] != '\t' || naming->count == RECORDS_MAX) {
		naming->is_bad = true;
		return false;
	}
	const char *last = naming->count ? naming->names[naming->count - 1] : "";
	if (strlen(last) == name_len && memcmp(last, name, name_len) == 0)
		return true;
	naming->names = mem_resize(naming->names, naming->count + 1, sizeof *naming->names);
	naming->names[naming->count++] = mem_dup(name, name_len);
	return true;
}

/* A name that is the beginning of another stands before it with all its records, for a tab ends it
 * and no name holds an octet below a blank: so equal names are neighbours. */
struct err journal_names(struct state_store *store, const struct env *env, char ***out,
			 size_t *count)
{
	struct naming naming = {0};
	const struct state_range all = {"journal\t", visit_name, &naming};
	struct err err = store->ops->walk(store, env, &all, 1);

	if (!err.kind && naming.is_bad)
		err = is_broken();
	if (err.kind) {
		journal_names_free(naming.names, naming.count);
		naming = (struct naming){0};
	}
	*out = naming.names;
	*count = naming.count;
	return err;
}

/* --- writing ------------------------------------------------------------------------------ */

static uint64_t new_number(const struct env *env, uint64_t since, uint64_t highest)
{
	uint32_t chance;

	env->ops->random(env, &chance, sizeof chance);
	uint64_t number = since << CHANCE | (chance & ((1u << CHANCE) - 1));
	return number > highest ? number : highest + 1;
}

/* What an UPDATE has promised, as it will lie in the state. */
struct writing {
	size_t had, parts, count; /* records that lie there, that will, and changes that makes */
	struct state_change *changes; /* owned */
	struct buf *values;           /* owned: of the parts */
	char (*keys)[STATE_KEY + 1];  /* owned */
};

static void writing_init(struct writing *writing, const struct journal *journal)
{
	size_t parts = (journal->count + ENTRIES_MAX - 1) / ENTRIES_MAX;
	size_t had = journal->number && !journal->parts ? 1 : journal->parts;

	*writing = (struct writing){.had = had, .parts = parts, .count = parts > had ? parts : had};
	writing->changes = mem_alloc((writing->count + 1) * sizeof *writing->changes);
	writing->keys = mem_alloc((writing->count + 1) * sizeof *writing->keys);
	writing->values = mem_alloc((parts + 1) * sizeof *writing->values);
	for (size_t i = 0; i < parts; i++)
		buf_init(&writing->values[i], STATE_VALUE);
}

static void writing_fini(struct writing *writing)
{
	for (size_t i = 0; i < writing->parts; i++)
		buf_fini(&writing->values[i]);
	free(writing->changes);
	free(writing->keys);
	free(writing->values);
}

/* The parts stand under `number` and those that follow; what is behind them is erased. */
static bool set_keys(struct writing *writing, const char *name, uint64_t number)
{
	if (!number || number > UINT64_MAX - writing->count)
		return false;
	for (size_t i = 0; i < writing->count; i++) {
		bool is_kept = i < writing->parts;
		writing->changes[i] = (struct state_change){
			.key = writing->keys[i],
			.value = is_kept ? buf_data(&writing->values[i]) : NULL,
			.len = is_kept ? buf_len(&writing->values[i]) : 0,
			.was = i < writing->had ? STATE_ANY : 0};
		if (!make_key(writing->keys[i], name, number + i))
			return false;
	}
	return true;
}

/* Puts the parts under the number that the record has, or under a new one. */
static struct err put(struct state_store *store, const struct env *env, const char *name,
		      struct journal *journal, struct writing *writing)
{
	bool is_new = !journal->number, is_stale = true;

	for (int tries = 0; is_stale && tries < TRIES; tries++) {
		uint64_t highest = 0;
		if (is_new)
			TRY(find_highest(store, env, name, &highest));
		uint64_t number =
			is_new ? new_number(env, journal->since, highest) : journal->number;
		if (!set_keys(writing, name, number))
			return is_broken();
		TRY(store->ops->put(store, env, writing->changes, writing->count, &is_stale));
		if (!is_stale) {
			journal->number = number;
			journal->parts = writing->parts;
		}
	}
	return is_stale ? ERR(ERR_UPSTREAM, EAGAIN, "what is kept of deletions keeps changing")
			: OK;
}

/* What cannot be read back would lock everybody out: better not to delete. */
static struct err pack_checked(struct buf *value, const struct journal *journal)
{
	struct journal back = {0};

	if (!pack(value, journal, has_ids(journal) ? FORMAT_IDS : FORMAT))
		return no_memory();
	bool is_good = unpack(&back, buf_data(value), buf_len(value));
	journal_fini(&back);
	return is_good ? OK : ERR(ERR_UPSTREAM, EINVAL, "these deletions cannot be written down");
}

struct err journal_write(struct state_store *store, const struct env *env, const char *name,
			 struct journal *journal)
{
	char key[STATE_KEY + 1];
	struct writing writing;
	struct err err = OK;

	if (!make_key(key, name, journal->number))
		return ERR(ERR_UPSTREAM, ENAMETOOLONG, "name too long");
	writing_init(&writing, journal);
	for (size_t i = 0; i < writing.parts && !err.kind; i++) {
		struct journal part = *journal;
		part.entries += i * ENTRIES_MAX;
		part.count -= i * ENTRIES_MAX;
		if (part.count > ENTRIES_MAX)
			part.count = ENTRIES_MAX;
		err = pack_checked(&writing.values[i], &part);
	}
	if (!err.kind && writing.count)
		err = put(store, env, name, journal, &writing);
	writing_fini(&writing);
	return err;
}
