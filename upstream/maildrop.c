/* SPDX-License-Identifier: MIT */
/* maildrop.c - the snapshot of one session.
 *
 * A store mostly lists in ascending order, so the order is checked while messages are added and
 * only a shuffled listing is sorted. Names are kept apart from the messages, one after the other in
 * one buffer: a million messages without names cost 16 MB and nothing else.
 */
#include "upstream/maildrop.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/text.h"

enum {
	FIRST_ROOM = 64,            /* messages, measures */
	PREFIX_MAX = UIDL_MAX - 11, /* a dot and ten digits follow */
	NAMES_MAX = (UIDL_MAX + 1) * MAILDROP_MESSAGES + 1,
};

void maildrop_init(struct maildrop *drop)
{
	*drop = (struct maildrop){.messages = NULL};
	buf_init(&drop->names, NAMES_MAX);
}

void maildrop_fini(struct maildrop *drop)
{
	free(drop->messages);
	free(drop->measures);
	buf_fini(&drop->names);
	maildrop_init(drop);
}

/* Octets that a UIDL may consist of (RFC 1939 section 7). */
static bool is_uidl(const char *text, size_t min, size_t max)
{
	size_t len = 0;

	for (; text[len]; len++)
		if (len == max || text[len] < 0x21 || text[len] > 0x7e)
			return false;
	return len >= min;
}

/* Room for `want` elements of `size` octets, and for as many again. */
static bool grow(void **array, size_t *room, size_t want, size_t size)
{
	size_t more = *room ? *room * 2 : FIRST_ROOM;
	void *grown = reallocarray(*array, more < want ? want : more, size);

	if (!grown)
		return false;
	*array = grown;
	*room = more < want ? want : more;
	return true;
}

static bool grow_messages(struct maildrop *drop, size_t want)
{
	void *messages = drop->messages;
	bool is_grown = grow(&messages, &drop->room, want, sizeof *drop->messages);

	drop->messages = messages;
	return is_grown;
}

void maildrop_reserve(struct maildrop *drop, size_t count)
{
	if (count > drop->room && count <= MAILDROP_MESSAGES)
		(void)grow_messages(drop, count); /* it grows later, or says so */
}

static bool add_name(struct buf *names, const char *name, uint32_t *offset)
{
	if (!buf_len(names) && !buf_put(names, "", 1))
		return false;
	*offset = (uint32_t)buf_len(names);
	return buf_put(names, name, strlen(name) + 1);
}

struct err maildrop_add(struct maildrop *drop, uint32_t uid, uint64_t octets, const char *name,
			unsigned marks)
{
	uint32_t offset = 0;

	if (drop->total >= MAILDROP_MESSAGES)
		return ERR(ERR_UPSTREAM, E2BIG, "too many messages");
	if (octets > MESSAGE_OCTETS)
		return ERR(ERR_UPSTREAM, EOVERFLOW, "sizes beyond all bounds");
	if (name && !is_uidl(name, 1, UIDL_MAX))
		return ERR(ERR_UPSTREAM, EILSEQ, "a message has a name that cannot be told");
	if (drop->total == drop->room && !grow_messages(drop, drop->total + 1))
		return ERR(ERR_UPSTREAM, ENOMEM, "out of memory");
	if (name && !add_name(&drop->names, name, &offset))
		return ERR(ERR_UPSTREAM, ENOMEM, "out of memory");
	drop->messages[drop->total++] = (struct message){
		.octets = octets & MESSAGE_OCTETS,
		.marks = (uint8_t)marks,
		.uid = uid,
		.name = offset,
	};
	return OK;
}

static int by_uid(const void *a, const void *b)
{
	const struct message *p = a, *q = b;

	return (p->uid > q->uid) - (p->uid < q->uid);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int by_uid_down(const void *a, const void *b)
{
	return by_uid(b, a);
}

static bool is_in_order(const struct maildrop *drop)
{
	for (size_t i = 1; i < drop->total; i++) {
		uint32_t one = drop->messages[i - 1].uid, two = drop->messages[i].uid;
		if (drop->newest_first ? one <= two : one >= two)
			return false;
	}
	return true;
}

/* Whether `name` is what a message without a name is called. */
static bool is_taken(const struct maildrop *drop, const char *name)
{
	size_t len = strlen(drop->prefix);
	char uidl[UIDL_MAX + 1];
	uint64_t uid;

	if (strncmp(name, drop->prefix, len) || name[len] != '.' ||
	    !text_number(name + len + 1, strlen(name + len + 1), UINT32_MAX, &uid))
		return false;
	const struct message *msg = maildrop_find(drop, (uint32_t)uid);
	if (!msg || msg->name)
		return false;
	maildrop_uidl(drop, msg, uidl); /* "007" is not "7" */
	return !strcmp(uidl, name);
}

static struct err check_names(const struct maildrop *drop)
{
	struct err err = OK;
	size_t count = 0;

	if (!buf_len(&drop->names))
		return OK;
	const char **names = reallocarray(NULL, drop->total, sizeof *names);
	if (!names)
		return ERR(ERR_UPSTREAM, ENOMEM, "out of memory");
	for (size_t i = 0; i < drop->total; i++)
		if (drop->messages[i].name)
			names[count++] = maildrop_name(drop, &drop->messages[i]);
	qsort(names, count, sizeof *names, by_text);
	for (size_t i = 0; i < count && !err.kind; i++)
		if ((i && !strcmp(names[i - 1], names[i])) || is_taken(drop, names[i]))
			err = ERR(ERR_UPSTREAM, EEXIST, "two messages have the same name");
	free(names);
	return err;
}

static struct err sum_up(struct maildrop *drop)
{
	bool needs_prefix = false;

	drop->count = drop->marked = 0;
	drop->octets = 0;
	uint64_t all = 0;
	for (size_t i = 0; i < drop->total; i++) {
		const struct message *msg = &drop->messages[i];
		needs_prefix |= !msg->name;
		if (__builtin_add_overflow(all, msg->octets, &all))
			return ERR(ERR_UPSTREAM, EOVERFLOW, "sizes beyond all bounds");
		if (message_is_deleted(msg)) {
			drop->marked++;
		} else {
			drop->count++;
			drop->octets += msg->octets;
		}
	}
	if (needs_prefix && !is_uidl(drop->prefix, 1, PREFIX_MAX))
		return ERR(ERR_UPSTREAM, EINVAL, "the mailbox has no identity");
	return OK;
}

struct err maildrop_seal(struct maildrop *drop)
{
	if (!is_in_order(drop)) {
		qsort(drop->messages, drop->total, sizeof *drop->messages,
		      drop->newest_first ? by_uid_down : by_uid);
		if (!is_in_order(drop))
			return ERR(ERR_UPSTREAM, EEXIST, "two messages have the same number");
	}
	TRY(sum_up(drop));
	TRY(check_names(drop));
	/* It grew by doubling, and many sessions hold theirs for long. */
	struct message *messages =
		drop->total ? reallocarray(drop->messages, drop->total, sizeof *messages) : NULL;
	if (messages) {
		drop->messages = messages;
		drop->room = drop->total;
	}
	return OK;
}

struct message *maildrop_find(const struct maildrop *drop, uint32_t uid)
{
	size_t low = 0, high = drop->total;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		uint32_t at = drop->messages[middle].uid;
		if (at == uid)
			return &drop->messages[middle];
		if ((at < uid) != drop->newest_first)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* The place of the first measure at or above `uid`. */
static size_t measure_at(const struct maildrop *drop, uint32_t uid)
{
	size_t low = 0, high = drop->measured;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (drop->measures[middle].uid < uid)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct measure *find_measure(const struct maildrop *drop, uint32_t uid)
{
	size_t at = measure_at(drop, uid);

	return at < drop->measured && drop->measures[at].uid == uid ? &drop->measures[at] : NULL;
}

/* NULL: memory is out. Whoever fetches in order adds at the end. */
static struct measure *add_measure(struct maildrop *drop, uint32_t uid)
{
	size_t at = measure_at(drop, uid);

	void *measures = drop->measures;
	if (drop->measured == drop->measures_room &&
	    !grow(&measures, &drop->measures_room, drop->measured + 1, sizeof *drop->measures))
		return NULL;
	drop->measures = measures;
	struct measure *measure = &drop->measures[at];
	memmove(measure + 1, measure, (drop->measured++ - at) * sizeof *measure);
	*measure = (struct measure){.uid = uid};
	return measure;
}

void maildrop_measure(struct maildrop *drop, struct message *msg, uint64_t octets)
{
	int64_t more = (int64_t)(octets - msg->octets);

	if (octets > INT64_MAX || more > INT32_MAX || more < INT32_MIN)
		return;
	struct measure *measure = find_measure(drop, msg->uid);
	if (!measure && more)
		measure = add_measure(drop, msg->uid);
	if (!measure && more)
		return; /* memory is out: it stays as it was told */
	if (measure)
		measure->more = (int32_t)more;
	msg->marks |= MARK_MEASURED;
}

uint64_t maildrop_measured(const struct maildrop *drop, const struct message *msg)
{
	const struct measure *measure =
		msg->marks & MARK_MEASURED ? find_measure(drop, msg->uid) : NULL;

	return measure ? msg->octets + (uint64_t)(int64_t)measure->more : msg->octets;
}

struct message *maildrop_get(const struct maildrop *drop, uint64_t number)
{
	if (number < 1 || number > drop->total)
		return NULL;
	struct message *msg = &drop->messages[number - 1];
	return message_is_deleted(msg) ? NULL : msg;
}

const char *maildrop_name(const struct maildrop *drop, const struct message *msg)
{
	return msg->name ? buf_data(&drop->names) + msg->name : NULL;
}

size_t maildrop_uidl(const struct maildrop *drop, const struct message *msg, char out[UIDL_MAX + 1])
{
	const char *text = msg->name ? maildrop_name(drop, msg) : drop->prefix;
	size_t len = strnlen(text, msg->name ? UIDL_MAX : PREFIX_MAX);

	memcpy(out, text, len);
	if (!msg->name) {
		out[len++] = '.';
		len += text_decimal(out + len, msg->uid);
	}
	out[len] = '\0';
	return len;
}

void maildrop_delete(struct maildrop *drop, struct message *msg)
{
	assert(!message_is_deleted(msg));
	msg->marks |= MARK_DELETED;
	drop->count--;
	drop->octets -= msg->octets;
	drop->marked++;
}

void maildrop_reset(struct maildrop *drop)
{
	for (size_t i = 0; i < drop->total; i++) {
		struct message *msg = &drop->messages[i];
		if (message_is_deleted(msg)) {
			drop->count++;
			drop->octets += msg->octets;
			drop->marked--;
		}
		msg->marks &= (uint8_t) ~(MARK_DELETED | MARK_RETRIEVED);
	}
}
