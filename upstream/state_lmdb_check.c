/* SPDX-License-Identifier: MIT */
/* state_lmdb_check.c - a doorman for a file of LMDB's.
 *
 * LMDB believes what its pages say, for it wrote them: one flipped bit in an offset and it reads, or
 * writes, anywhere in memory. So the whole file is read once, before it is used, and must be exactly
 * what LMDB 0.9 (data version 1) writes:
 *
 *	pages 0, 1  "meta": magic, page size, the two trees, the last page, the number of the
 *	            transaction. The commits take turns; the higher number counts, the other is one
 *	            less.
 *	trees       of free pages (by transaction) and of ours. Branch and leaf pages have a head of
 *	            16 octets, offsets of nodes growing upwards, and nodes growing downwards from
 *	            the page's end without gaps. A value that does not fit lies on pages of its own.
 *
 * Each page must be used once, lie in the file, and hold keys between those of its parent; the counts
 * in the meta page must be those that were found; free pages must be used by nobody; each commit
 * frees something, so the highest transaction in the tree of free pages is that of the meta page.
 * What a flip can then still change without being found out is what nobody reads.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "upstream/state_lmdb_page.h"

enum {
	NODE_HEAD = 8,
	NODE_BIG = 1, /* the value is on pages of its own */
	KEY_MAX = 511,
};

#define NO_PAGE SIZE_MAX

struct span {
	const unsigned char *octets; /* NULL: no bound */
	size_t len;
};

struct check {
	int fd;
	struct notice *why;
	size_t page_size;
	size_t length;                   /* of the file, octets */
	size_t last;                     /* the highest page that may be in use */
	unsigned char *seen;             /* owned: a bit a page */
	unsigned char *pages[DEPTH_MAX]; /* owned: one a level */
	unsigned char *marks;            /* owned: an octet for two of a page */
	unsigned char *big;              /* owned: a value from pages of its own */
	size_t big_room;
	size_t newest;   /* the highest transaction among the free pages */
	bool has_format; /* the record that says whose file this is */
};

static bool fail(struct check *check, size_t page, const char *what)
{
	snprintf(check->why->text, sizeof check->why->text, "damaged: page %zu: %s", page, what);
	return false;
}

static bool read_page(struct check *check, void *into, size_t len, size_t page)
{
	if (len > check->length || page > (check->length - len) / check->page_size)
		return fail(check, page, "behind the end of the file, which was cut short");
	if (!page_read_at(check->fd, into, len, page * check->page_size))
		return fail(check, page, errno ? strerror(errno) : "cannot be read");
	return true;
}

/* --- pages -------------------------------------------------------------------------------- */

static bool take_page(struct check *check, size_t page)
{
	unsigned char bit = (unsigned char)(1u << page % 8);

	if (page < 2 || page > check->last)
		return fail(check, page, "is none of the pages that there are");
	if (check->seen[page / 8] & bit)
		return fail(check, page, "is used twice");
	check->seen[page / 8] |= bit;
	return true;
}

static int compare(const struct tree *tree, struct span a, struct span b)
{
	if (tree->is_free) {
		size_t one = page_get_word(a.octets), other = page_get_word(b.octets);
		return one < other ? -1 : one > other;
	}
	int order = memcmp(a.octets, b.octets, a.len < b.len ? a.len : b.len);
	return order ? order : a.len < b.len ? -1 : a.len > b.len;
}

/* A list of free pages: how many, then each, descending. */
static bool check_free(struct check *check, size_t page, struct span key, struct span value)
{
	size_t count = value.len >= WORD ? page_get_word(value.octets) : SIZE_MAX;

	if (count > value.len / WORD - (value.len >= WORD))
		return fail(check, page, "a list of free pages is too short");
	if (page_get_word(key.octets) > check->newest)
		check->newest = page_get_word(key.octets);
	for (size_t i = 1, before = SIZE_MAX; i <= count; i++) {
		size_t freed = page_get_word(value.octets + i * WORD);
		if (freed >= before)
			return fail(check, page, "a list of free pages is out of order");
		if (!take_page(check, freed))
			return false;
		before = freed;
	}
	return true;
}

static bool check_value(struct check *check, size_t page, struct span key, struct span value)
{
	static const char text[] = "damaged: the value of ";
	uint64_t version;

	if (state_value_read(key.octets, key.len, value.octets, value.len, &version)) {
		if (key.len == strlen(state_format_key) &&
		    !memcmp(key.octets, state_format_key, key.len))
			check->has_format = value.len == STATE_HEAD + strlen(state_format_text) &&
					    !memcmp(value.octets + STATE_HEAD, state_format_text,
						    strlen(state_format_text));
		return true;
	}
	if (value.len > STATE_HEAD && value.octets[0] != STATE_FORMAT)
		return fail(check, page, "a value is in a format that this version does not know");
	memcpy(check->why->text, text, sizeof text);
	text_printable(check->why->text + sizeof text - 1, sizeof check->why->text - sizeof text,
		       (const char *)key.octets, key.len, false);
	return false;
}

/* A value on pages of its own. */
static bool read_big(struct check *check, struct tree *found, size_t page, size_t len,
		     struct span *out)
{
	unsigned char head[PAGE_HEAD];
	size_t pages = (PAGE_HEAD - 1 + len) / check->page_size + 1;

	if (len > (found->is_free ? (check->last + 2) * WORD : (size_t)STATE_VALUE + STATE_HEAD))
		return fail(check, page, "a value is too long");
	if (!read_page(check, head, sizeof head, page))
		return false;
	if (page_get_word(head) != page || page_get16(head + WORD) ||
	    page_get16(head + WORD + 2) != IS_OVERFLOW || page_get32(head + WORD + 4) != pages)
		return fail(check, page, "is not the page of a long value");
	for (size_t i = 0; i < pages; i++)
		if (!take_page(check, page + i))
			return false;
	if (len > check->big_room) {
		free(check->big);
		check->big = mem_alloc(len);
		check->big_room = len;
	}
	found->overflows += pages;
	*out = (struct span){check->big, len};
	if (page + pages > check->length / check->page_size)
		return fail(check, page, "behind the end of the file, which was cut short");
	if (!page_read_at(check->fd, check->big, len, page * check->page_size + PAGE_HEAD))
		return fail(check, page, errno ? strerror(errno) : "cannot be read");
	return true;
}

static bool check_leaf_node(struct check *check, struct tree *found, size_t page,
			    const unsigned char *node, struct span key)
{
	struct span value = {node + NODE_HEAD + key.len, page_get32(node)};

	if (page_get16(node + 4) & NODE_BIG &&
	    !read_big(check, found, page_get_word(value.octets), value.len, &value))
		return false;
	found->entries++;
	return found->is_free ? check_free(check, page, key, value)
			      : check_value(check, page, key, value);
}

static size_t child_of(const unsigned char *node)
{
	size_t page = page_get32(node);

#if SIZE_MAX > UINT32_MAX
	page |= (size_t)page_get16(node + 4) << 32;
#endif
	return page;
}

/* The size of a node, 0 if it cannot be one. */
static size_t node_size(const struct check *check, const struct tree *tree,
			const unsigned char *page, size_t at, bool is_leaf)
{
	const unsigned char *node = page + at;

	if (at % 2 || at > check->page_size - NODE_HEAD)
		return 0;
	size_t key = page_get16(node + 6), flags = is_leaf ? page_get16(node + 4) : 0;
	size_t value = !is_leaf ? 0 : flags & NODE_BIG ? WORD : page_get32(node);
	if (key > KEY_MAX || flags & ~(size_t)NODE_BIG || (is_leaf && !key) ||
	    (tree->is_free && is_leaf && key != WORD) ||
	    value > check->page_size - at - NODE_HEAD ||
	    key > check->page_size - at - NODE_HEAD - value)
		return 0;
	return (NODE_HEAD + key + value + 1) & ~(size_t)1;
}

/* The offsets and sizes of a page's nodes: they fill it from `upper` on, each octet once. */
static bool check_nodes(struct check *check, const struct tree *tree, size_t number,
			const unsigned char *page, bool is_leaf, size_t count)
{
	size_t upper = page_get16(page + PAGE_HEAD - 2), filled = upper;

	memset(check->marks, 0, check->page_size / 2);
	for (size_t i = 0; i < count; i++) {
		size_t at = page_get16(page + PAGE_HEAD + 2 * i);
		size_t size = at < upper ? 0 : node_size(check, tree, page, at, is_leaf);
		if (!size || at + size > check->page_size)
			return fail(check, number, "an entry is malformed");
		for (size_t k = at / 2; k < (at + size) / 2; k++)
			if (check->marks[k]++)
				return fail(check, number, "entries overlap");
		filled += size;
	}
	return filled == check->page_size || fail(check, number, "there are gaps between entries");
}

static bool check_page(struct check *check, struct tree *found, unsigned depth_left, size_t number,
		       struct span low, struct span high);

/* An entry of a page: between its neighbours, and what it leads to. `low` is the one before, or the
 * parent's; `high` the one after, likewise. */
static bool check_entry(struct check *check, struct tree *found, unsigned depth_left, size_t number,
			const unsigned char *node, struct span low, struct span high)
{
	bool is_leaf = depth_left == 1;
	struct span key = {node + NODE_HEAD, page_get16(node + 6)};

	if (!is_leaf)
		return check_page(check, found, depth_left - 1, child_of(node), low, high);
	if (high.octets && compare(found, key, high) >= 0)
		return fail(check, number, "keys are out of order");
	return check_leaf_node(check, found, number, node, key);
}

static struct span key_of(const unsigned char *page, size_t nth)
{
	const unsigned char *node = page + page_get16(page + PAGE_HEAD + 2 * nth);

	return (struct span){node + NODE_HEAD, page_get16(node + 6)};
}

/* The first key of a branch page stands for "all that is lower" and is not looked at; a lower bound
 * is for the first of a leaf, and may be equal to it. */
static bool check_keys(struct check *check, const struct tree *found, size_t number,
		       const unsigned char *page, bool is_leaf, size_t count, struct span low)
{
	for (size_t i = is_leaf ? 0 : 1; i < count; i++) {
		struct span key = key_of(page, i);
		if (!key.len || (found->is_free && key.len != WORD))
			return fail(check, number, "a key is malformed");
		bool is_first = i == (is_leaf ? 0 : 1);
		if (is_first && low.octets && compare(found, key, low) < 0)
			return fail(check, number, "keys are out of order");
		if (!is_first && compare(found, key_of(page, i - 1), key) >= 0)
			return fail(check, number, "keys are out of order");
	}
	return true;
}

static bool check_page(struct check *check, struct tree *found, unsigned depth_left, size_t number,
		       struct span low, struct span high)
{
	unsigned char *page = check->pages[depth_left - 1];
	bool is_leaf = depth_left == 1, is_good = true;

	if (!take_page(check, number) || !read_page(check, page, check->page_size, number))
		return false;
	size_t lower = page_get16(page + PAGE_HEAD - 4), upper = page_get16(page + PAGE_HEAD - 2);
	size_t count = (lower - PAGE_HEAD) / 2;
	if (page_get_word(page) != number || page_get16(page + WORD) ||
	    page_get16(page + WORD + 2) != (is_leaf ? IS_LEAF : IS_BRANCH) || lower < PAGE_HEAD ||
	    lower % 2 || lower > upper || upper > check->page_size || count < (is_leaf ? 1 : 2))
		return fail(check, number, "its head is malformed");
	if (!check_nodes(check, found, number, page, is_leaf, count) ||
	    !check_keys(check, found, number, page, is_leaf, count, low))
		return false;
	found->leaves += is_leaf;
	found->branches += !is_leaf;
	for (size_t i = 0; i < count && is_good; i++) {
		const unsigned char *node = page + page_get16(page + PAGE_HEAD + 2 * i);
		is_good = check_entry(check, found, depth_left, number, node,
				      i ? key_of(page, i) : low,
				      i + 1 < count ? key_of(page, i + 1) : high);
	}
	return is_good;
}

/* --- the whole ---------------------------------------------------------------------------- */

static bool check_tree(struct check *check, const struct tree *tree)
{
	struct tree found = {.is_free = tree->is_free, .depth = tree->depth, .root = tree->root};
	const struct span none = {NULL, 0};

	if (!tree->depth != (tree->root == NO_PAGE))
		return fail(check, 0, "a tree has no root");
	if (tree->depth && !check_page(check, &found, tree->depth, tree->root, none, none))
		return false;
	if (found.branches != tree->branches || found.leaves != tree->leaves ||
	    found.overflows != tree->overflows || found.entries != tree->entries)
		return fail(check, 0, "a tree has not as many pages or entries as it says");
	return true;
}

static bool check_trees(struct check *check, const struct meta *meta)
{
	check->last = meta->last;
	check->seen = calloc(1, check->last / 8 + 1);
	check->marks = mem_alloc(check->page_size / 2 + 1);
	if (!check->seen)
		return fail(check, 0, "it speaks of more pages than there is memory for");
	for (size_t i = 0; i < DEPTH_MAX; i++)
		check->pages[i] = mem_alloc(check->page_size);
	if (!check_tree(check, &meta->trees[1]) || !check_tree(check, &meta->trees[0]))
		return false;
	/* The first commit frees nothing, for there was nothing. */
	if (check->newest > meta->txn || (meta->txn > 1 && check->newest != meta->txn))
		return fail(check, 0, "the last transaction is not the last");
	if (!check->has_format) {
		snprintf(check->why->text, sizeof check->why->text,
			 "not a state of popgate's, or of another version of it");
		return false;
	}
	return true;
}

bool state_check_all(int fd, struct notice *why)
{
	struct check check = {.fd = fd, .why = why};
	struct meta metas[2] = {{0}};

	if (!page_read_metas(fd, why, metas, &check.length))
		return false;
	check.page_size = metas[0].page_size;
	bool is_good = check_trees(&check, &metas[metas[1].txn > metas[0].txn]);
	for (size_t i = 0; i < DEPTH_MAX; i++)
		free(check.pages[i]);
	free(check.seen);
	free(check.marks);
	free(check.big);
	return is_good;
}
