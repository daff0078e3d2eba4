/* SPDX-License-Identifier: MIT */
/* imap_remove_chunk.c - what is to be removed, and the parts of it that one command names. */
#include "upstream/imap_remove.h"

#include <stdlib.h>

#include "proxy/base/mem.h"
#include "upstream/imap_name.h"

enum { UNKNOWN_LINE = 1000 /* octets that any server takes (N-16) */ };

enum delete_policy removal_way(const struct imap *imap)
{
	bool archives = imap->quirks && imap->quirks->traits & QUIRK_TRASH;

	if (imap->conf.delete_policy != DELETE_DEFAULT)
		return imap->conf.delete_policy;
	return archives ? DELETE_TRASH : DELETE_EXPUNGE;
}

void removal_init(struct removal *removal, struct imap *imap, enum delete_policy way,
		  const char *folder, uint32_t *uids, size_t count)
{
	*removal = (struct removal){
		.imap = imap,
		.way = way,
		.folder = folder,
		.uids = uids,
		.marks = mem_alloc(count + 1),
		.count = count,
		.most = UID_SET_MESSAGES,
		.may_create = imap->conf.may_create,
	};
}

void removal_fini(struct removal *removal)
{
	free(removal->uids);
	free(removal->marks);
	free(removal->target);
	*removal = (struct removal){NULL};
}

void chunk_init(struct chunk *chunk)
{
	*chunk = (struct chunk){
		.uids = mem_alloc(UID_SET_MESSAGES * sizeof *chunk->uids),
		.at = mem_alloc(UID_SET_MESSAGES * sizeof *chunk->at),
		.set = mem_alloc(UID_SET_OCTETS + 1),
	};
}

void chunk_fini(struct chunk *chunk)
{
	free(chunk->uids);
	free(chunk->at);
	free(chunk->set);
}

size_t removal_count_without(const struct removal *removal, unsigned marks)
{
	size_t count = 0;

	for (size_t i = 0; i < removal->count; i++)
		count += !(removal->marks[i] & marks);
	return count;
}

bool removal_next(const struct removal *removal, struct chunk *chunk, unsigned with,
		  unsigned without)
{
	const struct imap_quirks *quirks = removal->imap->quirks;
	struct uid_set set = {
		.uids = chunk->uids,
		.most = removal->most,
		.octets = uid_set_octets(quirks ? quirks->line : UNKNOWN_LINE),
	};

	for (size_t i = 0; i < removal->count && set.count < removal->most; i++) {
		unsigned marks = removal->marks[i];
		if ((marks & with) != with || marks & without)
			continue;
		chunk->at[set.count] = i;
		chunk->uids[set.count++] = removal->uids[i];
	}
	chunk->count = uid_set_next(&set, chunk->set);
	chunk->err = OK;
	chunk->is_known = chunk->is_limited = chunk->is_unknown = chunk->is_missing = false;
	return chunk->count > 0;
}

void chunk_mark(struct removal *removal, const struct chunk *chunk, unsigned marks)
{
	for (size_t i = 0; i < chunk->count; i++)
		removal->marks[chunk->at[i]] |= (uint8_t)marks;
}

void chunk_unmark(struct removal *removal, const struct chunk *chunk, unsigned marks)
{
	for (size_t i = 0; i < chunk->count; i++)
		removal->marks[chunk->at[i]] &= (uint8_t)~marks;
}
