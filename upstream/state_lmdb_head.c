/* SPDX-License-Identifier: MIT */
/* state_lmdb_head.c - the two first pages of a file of LMDB's, which say where everything is.
 *
 * Commits take turns in writing them: that of an even number writes page 0. The higher number counts,
 * and the other is one less, or both are 0.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "upstream/state_lmdb_page.h"

enum {
	PAGE_MIN = 512,
	PAGE_MAX = 32768,
	DATA_VERSION = 1,
	/* Places in a meta page. */
	META_MAGIC = PAGE_HEAD,
	META_VERSION = PAGE_HEAD + 4,
	META_TREES = PAGE_HEAD + 8 + 2 * WORD,
	TREE_SIZE = 8 + 5 * WORD,
	META_LAST = META_TREES + 2 * TREE_SIZE,
	META_TXN = META_LAST + WORD,
	META_END = META_TXN + WORD,
	NEVER_WRITTEN = 131072, /* pages at the end that a transaction can have taken and freed */
};

#define MAGIC UINT32_C(0xBEEFC0DE)

bool page_read_at(int fd, void *into, size_t len, size_t from)
{
	char *to = into;

	while (len) {
		ssize_t got = pread(fd, to, len, (off_t)from);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			errno = got < 0 ? errno : 0;
			return false;
		}
		to += got;
		from += (size_t)got;
		len -= (size_t)got;
	}
	return true;
}

static struct tree read_tree(const unsigned char *at, bool is_free)
{
	return (struct tree){
		.is_free = is_free,
		.depth = page_get16(at + 6),
		.branches = page_get_word(at + 8),
		.leaves = page_get_word(at + 8 + WORD),
		.overflows = page_get_word(at + 8 + 2 * WORD),
		.entries = page_get_word(at + 8 + 3 * WORD),
		.root = page_get_word(at + 8 + 4 * WORD),
	};
}

/* NULL if the page makes sense by itself. */
static const char *read_meta(const unsigned char *page, size_t number, struct meta *meta)
{
	const unsigned char *trees = page + META_TREES;

	if (page_get32(page + META_MAGIC) != MAGIC)
		return "not a file of LMDB's";
	if (page_get32(page + META_VERSION) != DATA_VERSION)
		return "written by another version of LMDB";
	if (page_get_word(page) != number || page_get16(page + WORD) ||
	    page_get16(page + WORD + 2) != IS_META)
		return "damaged: not a first page";
	*meta = (struct meta){
		.page_size = page_get32(trees),
		.last = page_get_word(page + META_LAST),
		.txn = page_get_word(page + META_TXN),
		.trees = {read_tree(trees, true), read_tree(trees + TREE_SIZE, false)},
	};
	if (meta->page_size < PAGE_MIN || meta->page_size > PAGE_MAX ||
	    (meta->page_size & (meta->page_size - 1)))
		return "damaged: size of pages";
	/* Of MDB_NOSUBDIR it is remembered that the file was made with it, and no more. */
	if ((page_get16(trees + 4) & ~(unsigned)MDB_NOSUBDIR) != MDB_INTEGERKEY ||
	    page_get16(trees + TREE_SIZE + 4) || page_get32(trees + TREE_SIZE))
		return "damaged: flags";
	return meta->last < 1 || meta->trees[0].depth > DEPTH_MAX ||
			       meta->trees[1].depth > DEPTH_MAX
		       ? "damaged: sizes"
		       : NULL;
}

bool page_read_metas(int fd, struct notice *why, struct meta metas[2], size_t *length)
{
	unsigned char page[META_END];
	const char *wrong = NULL;
	struct stat status;
	size_t size = 0;

	if (fstat(fd, &status) < 0) {
		snprintf(why->text, sizeof why->text, "%s", strerror(errno));
		return false;
	}
	*length = (size_t)status.st_size;
	for (size_t i = 0; i < 2 && !wrong; i++) {
		errno = 0;
		wrong = !page_read_at(fd, page, sizeof page, i * size)
				? (errno ? strerror(errno) : "damaged: cut short")
				: read_meta(page, i, &metas[i]);
		size = metas[0].page_size;
	}
	if (!wrong && metas[1].page_size != size)
		wrong = "damaged: size of pages";
	if (!wrong && *length < 2 * size)
		wrong = "damaged: cut short";
	const struct meta *newer = &metas[metas[1].txn > metas[0].txn];
	const struct meta *older = &metas[newer == metas];
	for (size_t i = 0; i < 2 && !wrong; i++)
		if (metas[i].last > *length / size + NEVER_WRITTEN)
			wrong = "damaged: cut short, or its first page is wrong";
	if (!wrong && newer->txn &&
	    (newer->txn - older->txn != 1 || newer != &metas[newer->txn & 1]))
		wrong = "damaged: the last transaction is not the last";
	if (wrong)
		snprintf(why->text, sizeof why->text, "%s", wrong);
	return !wrong;
}

bool state_check_head(int fd, struct notice *why)
{
	struct meta metas[2] = {{0}};
	size_t length;

	return page_read_metas(fd, why, metas, &length);
}
