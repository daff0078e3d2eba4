/* SPDX-License-Identifier: MIT */
/* imap_update.c - UPDATE: removes exactly the marked messages, then marks the retrieved ones \Seen.
 *
 * CLOSE is never sent, and EXPUNGE without UIDs only where nobody else's \Deleted is in the folder
 * (D-06, D-07). A reply that says OK is not believed alone: the removals are counted, and in doubt
 * the server is asked what is left (D-08). */
#include "upstream/imap.h"

#include "upstream/imap_name.h"

static bool is_marked(const struct message *msg)
{
	return message_is_deleted(msg);
}

static bool is_to_be_seen(const struct message *msg)
{
	return (msg->marks & MARK_RETRIEVED) && !message_is_deleted(msg);
}

static struct uid_set set_of(const struct imap *imap, const struct maildrop *maildrop,
			     bool (*is_chosen)(const struct message *))
{
	return (struct uid_set){
		.maildrop = maildrop,
		.others = imap->hidden,
		.others_len = imap->hidden_len,
		.is_chosen = is_chosen,
	};
}

static bool holds_any(const struct maildrop *maildrop, bool (*is_chosen)(const struct message *))
{
	for (size_t i = 0; i < maildrop->total; i++)
		if (is_chosen(&maildrop->messages[i]))
			return true;
	return false;
}

/* A folder may have become read-only since DELE was allowed (D-11). */
static struct err check_folder(const struct imap *imap)
{
	if (imap->is_folder_read_only)
		return ERR(ERR_POLICY, 0, "the folder is read-only");
	return OK;
}

/* OK if the server has none of the set any more. */
static struct err check_gone(struct imap *imap, const char *set)
{
	size_t left;

	TRY(imap_count_left(imap, set, &left));
	if (!left)
		return OK;
	LOG(imap->log, LEVEL_WARN, "imap-not-removed", log_number("left", left));
	return ERR(ERR_UPSTREAM, 0, "some messages were not removed");
}

/* STORE and UID EXPUNGE of one set in one flight (D-04). Should the STORE fail, UID EXPUNGE removes
 * nothing but what is in the set and \Deleted. `*is_unknown`: the server does not know UID EXPUNGE
 * (H-08, N-13). */
static struct err remove_set(struct imap *imap, const char *set, size_t count, bool *is_unknown)
{
	struct imap_client *client = &imap->client;
	uint32_t expunges = imap_wire_expunges(client->wire);
	int store, expunge;

	*is_unknown = false;
	TRY(imap_send(client, &store, "UID STORE %s +FLAGS.SILENT (\\Deleted)", set));
	TRY(imap_send(client, &expunge, "UID EXPUNGE %s", set));
	TRY(imap_receive(client, PHASE_UPDATE, store));
	struct err stored = imap_outcome(client, PHASE_UPDATE);
	TRY(imap_receive(client, PHASE_UPDATE, expunge));
	*is_unknown = imap_was(client, WIRE_BAD);
	struct err expunged = imap_outcome(client, PHASE_UPDATE);
	expunges = imap_wire_expunges(client->wire) - expunges;
	imap_client_trim(client);
	if (*is_unknown || (!stored.kind && !expunged.kind && expunges == count))
		return OK;
	struct err checked = check_gone(imap, set);
	if (!checked.kind || !imap_client_is_alive(client))
		return checked;
	if (!stored.kind && !expunged.kind) {
		/* Dovecot 2.3 may look for \Deleted before the STORE that it has just answered is
		 * in its view: once more, by itself. */
		TRY(imap_command(client, PHASE_UPDATE, "UID EXPUNGE %s", set));
		return check_gone(imap, set);
	}
	return stored.kind ? stored : expunged.kind ? expunged : checked;
}

/* How many messages are \Deleted, and how many of those the snapshot has marked. */
static struct err count_deleted(struct imap *imap, const struct maildrop *maildrop, size_t *all,
				size_t *ours)
{
	struct imap_client *client = &imap->client;

	*all = *ours = 0;
	if ((client->caps & (CAP_IMAP4REV1 | CAP_IMAP4REV2)) == CAP_IMAP4REV2)
		return ERR(ERR_UPSTREAM, 0, "the mail server cannot be asked what is left");
	TRY(imap_command(client, PHASE_UPDATE, "UID SEARCH DELETED"));
	const struct mailimap_response_info *info = client->im->imap_response_info;
	if (!info)
		return ERR(ERR_UPSTREAM, 0, "out of memory");
	clist *list = info->rsp_search_result;
	for (clistiter *at = list ? clist_begin(list) : NULL; at; at = clist_next(at)) {
		uint32_t uid = *(uint32_t *)clist_content(at);
		size_t low = 0, high = maildrop->total;
		while (low < high) {
			size_t middle = low + (high - low) / 2;
			if (maildrop->messages[middle].uid < uid)
				low = middle + 1;
			else
				high = middle;
		}
		++*all;
		*ours += low < maildrop->total && maildrop->messages[low].uid == uid &&
			 is_marked(&maildrop->messages[low]);
	}
	imap_client_trim(client);
	return OK;
}

static struct err store_all(struct imap *imap, const struct maildrop *maildrop,
			    bool (*is_chosen)(const struct message *), const char *flag)
{
	struct uid_set sets = set_of(imap, maildrop, is_chosen);
	char set[UID_SET_OCTETS + 1];

	while (uid_set_next(&sets, set)) {
		TRY(imap_command(&imap->client, PHASE_UPDATE, "UID STORE %s +FLAGS.SILENT (%s)",
				 set, flag));
		imap_client_trim(&imap->client);
	}
	return OK;
}

static struct err check_all_gone(struct imap *imap, const struct maildrop *maildrop)
{
	struct uid_set sets = set_of(imap, maildrop, is_marked);
	char set[UID_SET_OCTETS + 1];

	while (uid_set_next(&sets, set))
		TRY(check_gone(imap, set));
	return OK;
}

/* Without UIDPLUS (D-06): flags ours; EXPUNGE only while nobody else's \Deleted would go with them.
 * Otherwise ours keep the flag: hidden from the next session on, removed by whoever expunges. */
static struct err remove_safely(struct imap *imap, const struct maildrop *maildrop)
{
	size_t all, ours;

	TRY(count_deleted(imap, maildrop, &all, &ours));
	bool is_alone = all == ours;
	TRY(store_all(imap, maildrop, is_marked, "\\Deleted"));
	if (is_alone) {
		TRY(count_deleted(imap, maildrop, &all, &ours));
		is_alone = all == ours;
	}
	LOG(imap->log, LEVEL_NOTE, is_alone ? "imap-expunge-without-uids" : "imap-flag-only",
	    log_number("deleted", all), log_number("ours", ours));
	if (!is_alone)
		return OK;
	TRY(imap_command(&imap->client, PHASE_UPDATE, "EXPUNGE"));
	return check_all_gone(imap, maildrop);
}

static struct err remove_marked(struct imap *imap, const struct maildrop *maildrop)
{
	struct uid_set sets = set_of(imap, maildrop, is_marked);
	char set[UID_SET_OCTETS + 1];
	struct err first = OK;
	size_t count;

	if (imap->conf.delete_policy == DELETE_NEVER)
		return ERR(ERR_POLICY, 0, "nothing may be deleted here");
	TRY(check_folder(imap));
	if (!(imap->client.caps & CAP_UIDPLUS))
		return remove_safely(imap, maildrop);
	while ((count = uid_set_next(&sets, set)) > 0) {
		bool is_unknown;
		struct err err = remove_set(imap, set, count, &is_unknown);
		if (is_unknown) {
			imap->client.caps &= ~(unsigned)CAP_UIDPLUS;
			return remove_safely(imap, maildrop);
		}
		if (err.kind && !imap_client_is_alive(&imap->client))
			return err;
		if (!first.kind)
			first = err;
	}
	return first;
}

/* The connection broke in the middle: only the server knows how far it came (H-06). */
static struct err verify_after_loss(struct imap *imap, const struct maildrop *maildrop,
				    struct err lost)
{
	struct err err = imap_ready(imap, NULL);

	if (!err.kind)
		err = check_folder(imap);
	if (!err.kind)
		err = check_all_gone(imap, maildrop);
	log_err(imap->log, LEVEL_WARN, "imap-update-lost", lost);
	return err;
}

static void mark_seen(struct imap *imap, const struct maildrop *maildrop)
{
	struct err err = imap_ready(imap, NULL);

	if (!err.kind)
		err = check_folder(imap);
	if (!err.kind)
		err = store_all(imap, maildrop, is_to_be_seen, "\\Seen");
	if (err.kind)
		log_err(imap->log, LEVEL_NOTE, "imap-seen-failed", err);
}

struct err imap_update(struct upstream *upstream, const struct maildrop *maildrop)
{
	struct imap *imap = (struct imap *)upstream;
	struct err err = OK;

	if (maildrop->marked) {
		TRY(imap_ready(imap, NULL));
		err = remove_marked(imap, maildrop);
		if (err.kind && !imap_client_is_alive(&imap->client))
			err = verify_after_loss(imap, maildrop, err);
	}
	if (imap->conf.seen_policy == SEEN_ON_QUIT && holds_any(maildrop, is_to_be_seen))
		mark_seen(imap, maildrop);
	if (imap->client.im)
		imap_client_trim(&imap->client);
	return err;
}
