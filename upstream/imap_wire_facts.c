/* SPDX-License-Identifier: MIT */
/* imap_wire_facts.c - what the doorman is asked for: facts that imap_check*.c has noted, and who is to
 * be told of further ones. */
#include "upstream/imap_wire.h"

#include <string.h>

#include "upstream/imap_check.h"

void imap_wire_expect_found(struct imap_wire *wire,
			    void (*on_found)(void *arg, uint32_t low, uint32_t high), void *arg)
{
	imap_wire_check(wire)->on_found = on_found;
	imap_wire_check(wire)->found_arg = arg;
	imap_wire_check(wire)->has_found = false;
}

void imap_wire_expect_gone(struct imap_wire *wire,
			   void (*on_gone)(void *arg, bool is_uid, uint32_t low, uint32_t high),
			   void *arg)
{
	imap_wire_check(wire)->on_gone = on_gone;
	imap_wire_check(wire)->gone_arg = arg;
}

bool imap_wire_has_found(const struct imap_wire *wire)
{
	const struct check *check = imap_wire_check(wire);

	return check->has_found && strcmp(check->status.code, "MESSAGELIMIT") != 0;
}

struct wire_listeners imap_wire_hush(struct imap_wire *wire)
{
	const struct check *check = imap_wire_check(wire);
	struct wire_listeners listeners = {
		.on_item = check->on_item,
		.item_arg = check->item_arg,
		.on_found = check->on_found,
		.found_arg = check->found_arg,
	};

	imap_wire_expect_items(wire, NULL, NULL);
	imap_wire_expect_found(wire, NULL, NULL);
	return listeners;
}

void imap_wire_heed(struct imap_wire *wire, const struct wire_listeners *listeners)
{
	imap_wire_expect_items(wire, listeners->on_item, listeners->item_arg);
	imap_wire_expect_found(wire, listeners->on_found, listeners->found_arg);
}

void imap_wire_forget_folder(struct imap_wire *wire)
{
	imap_wire_check(wire)->folder = (struct wire_folder){.uidvalidity = 0};
}

const struct wire_folder *imap_wire_folder(const struct imap_wire *wire)
{
	return &imap_wire_check(wire)->folder;
}

static const char *words(const char *text)
{
	return text ? text : "";
}

const char *imap_wire_id(const struct imap_wire *wire)
{
	return words(imap_wire_check(wire)->id);
}

const char *imap_wire_greeting(const struct imap_wire *wire)
{
	return words(imap_wire_check(wire)->greeting);
}

const char *imap_wire_capabilities(const struct imap_wire *wire)
{
	return words(imap_wire_check(wire)->capabilities);
}

const char *imap_wire_enabled(const struct imap_wire *wire)
{
	return words(imap_wire_check(wire)->enabled);
}

void imap_wire_expect_others(struct imap_wire *wire,
			     bool (*on_other)(void *arg, uint32_t tag, const struct wire_status *),
			     void *arg)
{
	imap_wire_check(wire)->on_other = on_other;
	imap_wire_check(wire)->other_arg = arg;
}

void imap_wire_recall(struct imap_wire *wire, const struct wire_status *status)
{
	imap_wire_check(wire)->status = *status;
}

const struct wire_status *imap_wire_status(const struct imap_wire *wire)
{
	return &imap_wire_check(wire)->status;
}

const struct wire_status *imap_wire_bye(const struct imap_wire *wire)
{
	return &imap_wire_check(wire)->bye;
}

const char *imap_wire_alert(const struct imap_wire *wire)
{
	return imap_wire_check(wire)->alert;
}

uint32_t imap_wire_exists(const struct imap_wire *wire)
{
	return imap_wire_check(wire)->exists;
}

bool imap_wire_has_exists(const struct imap_wire *wire)
{
	return imap_wire_check(wire)->has_exists;
}

uint32_t imap_wire_expunges(const struct imap_wire *wire)
{
	return imap_wire_check(wire)->expunges;
}

bool imap_wire_vanished(const struct imap_wire *wire)
{
	return imap_wire_check(wire)->has_vanished;
}

uint32_t imap_wire_flag_news(const struct imap_wire *wire)
{
	return imap_wire_check(wire)->flag_news;
}

void imap_wire_know(struct imap_wire *wire, uint32_t uidnext, uint64_t highestmodseq)
{
	struct wire_folder *folder = &imap_wire_check(wire)->folder;

	folder->uidnext = uidnext;
	folder->highestmodseq = highestmodseq;
}

uint64_t imap_wire_body_most(const struct imap_wire *wire)
{
	return imap_wire_check(wire)->body_max;
}

void imap_wire_body_again(struct imap_wire *wire, uint64_t most)
{
	imap_wire_check(wire)->body_max = most;
}
