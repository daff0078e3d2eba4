/* SPDX-License-Identifier: MIT */
/* journal.c - records of promised deletions.
 *
 * A record, all of it numbers and texts of pack.h but the first octet: the format (1), since, tries,
 * UIDVALIDITY, place, where, mode, how many entries, and for each its distance from the UID before
 * (of the first: from 0) and its octets. Deletions are often of neighbours, so an entry takes some
 * four octets.
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
	NUMBER = 16,           /* hexadecimal digits */
	WHERE_MAX = 4096,      /* octets */
	MODE_MAX = 4096,       /* octets */
	CHANCE = 20,           /* low bits of a number */
	RECORDS_MAX = 1 << 20, /* of a name, or names in all */
	TRIES = 50,            /* of something that somebody else keeps being faster at */
};

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

static bool pack(struct buf *buf, const struct journal *journal)
{
	uint32_t last = 0;
	bool done = pack_octet(buf, FORMAT) && pack_number(buf, journal->since) &&
		    pack_number(buf, journal->tries) && pack_number(buf, journal->uidvalidity) &&
		    pack_text(buf, journal->place) &&
		    pack_text(buf, journal->where ? journal->where : "") &&
		    pack_text(buf, journal->mode ? journal->mode : "") &&
		    pack_number(buf, journal->count);

	for (size_t i = 0; done && i < journal->count; i++) {
		done = pack_number(buf, journal->entries[i].uid - last) &&
		       pack_number(buf, journal->entries[i].octets);
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

static void unpack_entries(struct unpack *in, struct journal *journal)
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
	}
}

/* False if anything is odd; the record is to be ended in any case. */
static bool unpack(struct journal *journal, const void *octets, size_t len)
{
	struct unpack in = unpack_begin(octets, len);
	size_t place_len;

	if (unpack_octet(&in) != FORMAT)
		return false;
	journal->since = unpack_number(&in, UINT64_MAX);
	journal->tries = (uint32_t)unpack_number(&in, UINT32_MAX);
	journal->uidvalidity = unpack_number(&in, UINT64_MAX);
	const char *place = unpack_text(&in, IDENTITY_PLACE, IDENTITY_PLACE, &place_len);
	if (place)
		memcpy(journal->place, place, place_len);
	journal->where = unpack_dup(&in, WHERE_MAX);
	journal->mode = unpack_dup(&in, MODE_MAX);
	unpack_entries(&in, journal);
	return unpack_is_whole(&in);
}

/* --- reading ------------------------------------------------------------------------------ */

/* What a visit on the pool needs; of reading records and of looking for the highest number. */
struct reading {
	size_t prefix_len;
	struct journal *journals; /* owned */
	size_t count;
	uint64_t highest;
	bool is_bad, is_count_only;
};

static bool visit_record(void *arg, const char *key, const void *value, size_t len,
			 uint64_t version)
{
	struct reading *reading = arg;
	uint64_t number = read_number(key + reading->prefix_len);

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

static struct err read_all(struct state_store *store, const struct env *env, const char *name,
			   struct reading *reading)
{
	char prefix[STATE_KEY + 1];

	if (!make_prefix(prefix, name))
		return ERR(ERR_UPSTREAM, ENAMETOOLONG, "name too long");
	reading->prefix_len = strlen(prefix);
	struct err err = store->ops->walk(store, env, prefix, visit_record, reading);
	return err.kind || !reading->is_bad ? err : is_broken();
}

struct err journal_read(struct state_store *store, const struct env *env, const char *name,
			struct journal **out, size_t *count)
{
	struct reading reading = {0};
	struct err err = read_all(store, env, name, &reading);

	if (err.kind) {
		journal_free(reading.journals, reading.count);
		reading = (struct reading){0};
	}
	*out = reading.journals;
	*count = reading.count;
	return err;
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
	struct err err = store->ops->walk(store, env, "journal\t", visit_name, &naming);

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

static struct err erase(struct state_store *store, const struct env *env, const char *key)
{
	struct state_change change = {.key = key, .was = STATE_ANY};
	bool is_stale;

	return store->ops->put(store, env, &change, 1, &is_stale);
}

static uint64_t new_number(const struct env *env, uint64_t since, uint64_t highest)
{
	uint32_t chance;

	env->ops->random(env, &chance, sizeof chance);
	uint64_t number = since << CHANCE | (chance & ((1u << CHANCE) - 1));
	return number > highest ? number : highest + 1;
}

/* Puts a value under the number that the record has, or under a new one. */
static struct err put(struct state_store *store, const struct env *env, const char *name,
		      struct journal *journal, const struct buf *value)
{
	char key[STATE_KEY + 1];
	bool is_new = !journal->number, is_stale = true;

	for (int tries = 0; is_stale && tries < TRIES; tries++) {
		struct reading reading = {.is_count_only = true};
		if (is_new)
			TRY(read_all(store, env, name, &reading));
		uint64_t number =
			is_new ? new_number(env, journal->since, reading.highest) : journal->number;
		if (!number || !make_key(key, name, number))
			return is_broken();
		struct state_change change = {.key = key,
					      .value = buf_data(value),
					      .len = buf_len(value),
					      .was = is_new ? 0 : STATE_ANY};
		TRY(store->ops->put(store, env, &change, 1, &is_stale));
		if (!is_stale)
			journal->number = number;
	}
	return is_stale ? ERR(ERR_UPSTREAM, EAGAIN, "what is kept of deletions keeps changing")
			: OK;
}

/* What cannot be read back would lock everybody out: better not to delete. */
static struct err pack_checked(struct buf *value, const struct journal *journal)
{
	struct journal back = {0};

	if (!pack(value, journal))
		return no_memory();
	bool is_good = unpack(&back, buf_data(value), buf_len(value));
	journal_fini(&back);
	return is_good ? OK : ERR(ERR_UPSTREAM, EINVAL, "these deletions cannot be written down");
}

struct err journal_write(struct state_store *store, const struct env *env, const char *name,
			 struct journal *journal)
{
	char key[STATE_KEY + 1];
	struct buf value;

	if (!make_key(key, name, journal->number))
		return ERR(ERR_UPSTREAM, ENAMETOOLONG, "name too long");
	if (!journal->count)
		return journal->number ? erase(store, env, key) : OK;
	buf_init(&value, STATE_VALUE);
	struct err err = pack_checked(&value, journal);
	if (!err.kind)
		err = put(store, env, name, journal, &value);
	buf_fini(&value);
	return err;
}
