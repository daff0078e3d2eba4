/* SPDX-License-Identifier: MIT */
/* imap_select.c - which folder the map means, and opening it.
 *
 * Most names go out as they are. One with "/" needs the server's own delimiter and perhaps a prefix
 * ("INBOX."); one such as \Trash names a use, not a folder, for the names are localised (B-18). */
#include "upstream/imap.h"

#include <stdlib.h>
#include <string.h>

#include "proxy/base/buf.h"
#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "upstream/imap_login.h"
#include "upstream/imap_name.h"
#include "upstream/uidl.h"

enum { NAME_OCTETS = 1000 }; /* the longest name on the wire */

static const struct err bad_name = {ERR_POLICY, 0, "the folder's name cannot be sent"};

/* The name on the wire: `prefix` unless the name has it, then the name with its delimiter. */
static struct err encode(const struct imap *imap, const char *prefix, const char *name,
			 char delimiter, char **out)
{
	struct buf coded;
	struct err err = bad_name;
	size_t prefix_len = strlen(prefix);

	buf_init(&coded, NAME_OCTETS);
	*out = NULL;
	bool is_coded = imap->client.is_rev2 ? imap_name_put(&coded, name, delimiter)
					     : imap_name_encode(&coded, name, delimiter);
	if (!is_coded || !buf_len(&coded))
		goto out;
	bool has_prefix = buf_len(&coded) >= prefix_len &&
			  text_same_n(buf_data(&coded), prefix_len, prefix, prefix_len);
	const char *before = has_prefix ? "" : prefix;
	size_t before_len = strlen(before);
	if (buf_len(&coded) + before_len > NAME_OCTETS)
		goto out;
	char *all = mem_alloc(before_len + buf_len(&coded) + 1);
	memcpy(all, before, before_len);
	memcpy(all + before_len, buf_data(&coded), buf_len(&coded));
	*out = all;
	err = OK;
out:
	buf_fini(&coded);
	return err;
}

static clist *listed(const struct imap *imap)
{
	const struct mailimap_response_info *info = imap->client.im->imap_response_info;

	return info ? info->rsp_mailbox_list : NULL;
}

/* The server's hierarchy delimiter; 0: it has none. */
static struct err find_delimiter(struct imap *imap, char *delimiter)
{
	TRY(imap_command(&imap->client, PHASE_SELECT, "LIST \"\" \"\""));
	clistiter *at = listed(imap) ? clist_begin(listed(imap)) : NULL;
	*delimiter = at ? ((struct mailimap_mailbox_list *)clist_content(at))->mb_delimiter : 0;
	return OK;
}

/* Whether a LIST reply bears the attribute `use`, "\Trash"; libetpan keeps it without the "\". */
static bool has_use(const struct mailimap_mailbox_list *entry, const char *use)
{
	clist *list = entry->mb_flag ? entry->mb_flag->mbf_oflags : NULL;

	for (clistiter *at = list ? clist_begin(list) : NULL; at; at = clist_next(at)) {
		const struct mailimap_mbx_list_oflag *flag = clist_content(at);
		const char *name = flag->of_flag_ext;
		if (name && text_same(name + (*name == '\\'), use + 1))
			return true;
	}
	return false;
}

/* Whether a name that the server told can be told to it. */
static bool is_sendable(const struct imap *imap, const char *name)
{
	return name && strlen(name) <= NAME_OCTETS &&
	       (imap->client.is_rev2 ? imap_is_name(name) : imap_is_quotable(name));
}

/* LIST of the folders with their uses. A server that has announced the extended form and does not know
 * it is asked in the plain one (H-08). */
static struct err list_uses(struct imap *imap)
{
	struct imap_client *client = &imap->client;
	unsigned both = CAP_SPECIAL_USE | CAP_LIST_EXTENDED;

	if ((client->caps & both) == both) {
		struct err err = imap_command(client, PHASE_SELECT,
					      "LIST (SPECIAL-USE) \"\" \"*\" RETURN (SPECIAL-USE)");
		if (!err.kind || !imap_client_is_alive(client) || !imap_was(client, WIRE_BAD))
			return err;
		imap_client_forget(client, both);
	}
	return imap_command(client, PHASE_SELECT, "LIST \"\" \"*\"");
}

/* The folder of a special use (RFC 6154). */
static struct err find_use(struct imap *imap, const char *use, char **out)
{
	*out = NULL;
	TRY(list_uses(imap));
	clist *list = listed(imap);
	for (clistiter *at = list ? clist_begin(list) : NULL; at; at = clist_next(at)) {
		const struct mailimap_mailbox_list *entry = clist_content(at);
		if (!has_use(entry, use))
			continue;
		if (!is_sendable(imap, entry->mb_name))
			return bad_name;
		*out = text_dup(entry->mb_name);
		return OK;
	}
	return ERR(ERR_POLICY, 0, "the mail server has no folder of that use");
}

/* Whether UIDs are worth nothing beyond this connection (E-06). Only a UIDL that is made of other
 * things bears that. */
static struct err check_uids(struct imap *imap, const struct wire_folder *folder)
{
	const struct uidl_format *format = imap->conf.uidl;
	bool needs_uids = !format || !(format->needs_gm_msgid || format->needs_email_id) ||
			  format->needs_uidvalidity;
	bool is_loose = !folder->uidvalidity || folder->is_uid_not_sticky;
	bool is_again = imap->is_selected;

	if (is_loose && needs_uids)
		return ERR(ERR_UPSTREAM, 0, "the folder's UIDs do not last");
	if (is_again && (is_loose || imap->is_loose || imap->uidvalidity != folder->uidvalidity)) {
		imap->is_void = true;
		return ERR(ERR_UPSTREAM, 0, "the folder is not the same as before");
	}
	imap->is_loose = is_loose;
	imap->uidvalidity = folder->uidvalidity;
	imap->is_selected = true;
	return OK;
}

/* What a successful SELECT told. */
static struct err selected(struct imap *imap)
{
	const struct wire_folder *folder = imap_wire_folder(imap->client.wire);

	if (!imap_wire_has_exists(imap->client.wire))
		return ERR(ERR_UPSTREAM, 0, "the mail server does not say how many messages");
	TRY(check_uids(imap, folder));
	imap->arrived = -1;
	imap->listed_flags = imap_wire_flag_news(imap->client.wire);
	imap->listed_exists = imap->selected_exists = imap_wire_exists(imap->client.wire);
	imap->listed_expunges = imap_wire_expunges(imap->client.wire);
	imap->selected_expunges = imap_wire_expunges(imap->client.wire);
	bool may_delete = !folder->has_permanent_flags || folder->may_delete;
	bool may_see = !folder->has_permanent_flags || folder->may_see;
	bool needs_delete =
		imap->conf.delete_policy != DELETE_NEVER && imap->conf.delete_policy != DELETE_HIDE;
	imap->is_folder_read_only = folder->is_read_only || (needs_delete ? !may_delete : !may_see);
	return OK;
}

/* Whether anything is ever written into the folder (C-02). */
static bool will_write(const struct imap *imap)
{
	const struct upstream_conf *conf = &imap->conf;

	return conf->seen_policy != SEEN_NEVER ||
	       (conf->delete_policy != DELETE_NEVER && conf->delete_policy != DELETE_HIDE);
}

/* Whether HIGHESTMODSEQ is worth asking for: a login of an unchanged folder then needs no search
 * (M-07). Dovecot counts changes only in folders of which somebody wanted to know it once. */
static bool wants_modseq(const struct imap *imap)
{
	unsigned without = QUIRK_WINDOW | QUIRK_SIZES_CHANGE | QUIRK_NO_ENABLE;

	return imap->conf.state && imap->conf.name && (imap->client.caps & CAP_CONDSTORE) &&
	       !(imap->client.quirks->traits & without);
}

/* SELECT or EXAMINE, as the server wants it. */
static bool put_select(const struct imap *imap, const char *name, bool with_modseq,
		       struct buf *line)
{
	/* Courier forgets the UIDVALIDITY of a folder that was only examined (N-12). */
	bool is_select = will_write(imap) || (imap->client.quirks->traits & QUIRK_SELECT_ONLY);

	return buf_printf(line, "%s ", is_select ? "SELECT" : "EXAMINE") &&
	       imap_quote_name(line, name) && (!with_modseq || buf_put(line, " (CONDSTORE)", 12));
}

static struct err send_select(struct imap *imap, const char *name, bool with_modseq)
{
	struct imap_client *client = &imap->client;
	struct err err = bad_name;
	struct buf line;
	int tag = 0;

	imap_wire_forget_folder(client->wire);
	buf_init(&line, 2 * NAME_OCTETS + 24);
	if (put_select(imap, name, with_modseq, &line))
		err = imap_send_line(client, &tag, &line);
	buf_fini(&line);
	return err.kind ? err : imap_receive(client, PHASE_SELECT, tag);
}

/* The answer to the one that has left with the login. BAD, or none and no farewell, is no answer to it
 * but to the flight (M-04). */
static struct err take_select(struct imap *imap, int tag)
{
	struct imap_client *client = &imap->client;
	struct err err = imap_receive(client, PHASE_FLIGHT, tag);

	if (err.kind)
		imap_flight_lost(client);
	else
		client->is_deaf = imap_was(client, WIRE_BAD);
	return err;
}

/* One SELECT or EXAMINE; the outcome is left in the wire's status. */
static struct err try_select(struct imap *imap, const char *name)
{
	struct imap_client *client = &imap->client;
	bool with_modseq = wants_modseq(imap);
	int tag = client->flight ? client->flight->tag : 0;

	if (tag) {
		client->flight->tag = 0;
		TRY(take_select(imap, tag));
	}
	struct err err = OK;
	if (!tag || imap_was(client, WIRE_BAD))
		err = send_select(imap, name, with_modseq);
	if (!err.kind && with_modseq && imap_was(client, WIRE_BAD)) {
		imap_client_forget(client, CAP_CONDSTORE);
		err = send_select(imap, name, false);
	}
	if (!err.kind && imap_was(client, WIRE_OK))
		err = selected(imap);
	return err;
}

/* Whether the server must be asked for its name on the wire. */
static bool needs_asking(const char *folder)
{
	return !text_same(folder, "INBOX") && (folder[0] == '\\' || strchr(folder, '/'));
}

/* The name that the map means by `folder`; *out is owned. */
static struct err find_name(struct imap *imap, const char *folder, char **out)
{
	char delimiter = 0;

	*out = NULL;
	if (text_same(folder, "INBOX")) {
		*out = text_dup("INBOX");
		return OK;
	}
	if (folder[0] == '\\')
		return find_use(imap, folder, out);
	if (strchr(folder, '/'))
		TRY(find_delimiter(imap, &delimiter));
	return encode(imap, "", folder, delimiter, out);
}

/* Whether the server lists a folder of that name. */
static struct err is_listed(struct imap *imap, const char *name, bool *is_there)
{
	struct buf words;

	*is_there = false;
	buf_init(&words, 2 * NAME_OCTETS + 2);
	struct err err = imap_quote_name(&words, name)
				 ? imap_command(&imap->client, PHASE_SELECT, "LIST \"\" %.*s",
						(int)buf_len(&words), buf_data(&words))
				 : bad_name;
	buf_fini(&words);
	*is_there = !err.kind && listed(imap) && clist_count(listed(imap)) == 1;
	return err;
}

/* A folder that does not exist may stand below INBOX, where Courier, Cyrus and others keep all
 * personal ones. *out: that name, if the server lists it, else NULL. */
static struct err find_below_inbox(struct imap *imap, const char *folder, char **out)
{
	char prefix[] = "INBOX/", delimiter;

	*out = NULL;
	TRY(find_delimiter(imap, &delimiter));
	if (!delimiter)
		return OK;
	prefix[5] = delimiter;
	TRY(encode(imap, prefix, folder, delimiter, out));
	bool is_there = false;
	struct err err = is_listed(imap, *out, &is_there);
	if (!err.kind && is_there)
		return OK;
	free(*out);
	*out = NULL;
	return err;
}

/* Whether a refused SELECT may mean that there is no such folder: old servers have no code for
 * that. */
static bool may_be_missing(const struct imap *imap)
{
	const struct wire_status *status = imap_wire_status(imap->client.wire);

	return status->outcome == WIRE_NO && imap->conf.folder[0] != '\\' &&
	       !text_same(imap->folder, "INBOX") &&
	       (text_same(status->code, "NONEXISTENT") || !*status->code);
}

/* The name, if nobody need be asked for it; owned. That of a use is asked for each time: it may have gone
 * to another folder. */
static char *name_unasked(const struct imap *imap, const struct imap_client *client)
{
	const struct upstream_conf *conf = &imap->conf;

	if (client->is_rev2 || conf->folder[0] == '\\')
		return NULL;
	return imap_memo_folder(conf->memos, conf, &imap->login);
}

static void remember_name(const struct imap *imap, const char *name)
{
	const struct upstream_conf *conf = &imap->conf;

	if (!imap->client.is_rev2 && conf->folder[0] != '\\' && !text_same(conf->folder, "INBOX"))
		imap_memo_put_folder(conf->memos, conf, &imap->login, name);
}

bool imap_select_put(void *arg, struct imap_client *client, struct buf *line)
{
	struct imap *imap = arg;
	char *name = imap->folder ? NULL : name_unasked(imap, client);

	if (imap->folder ? imap->is_folder_rev2 : !name && needs_asking(imap->conf.folder))
		return false;
	if (!imap->folder && !name && find_name(imap, imap->conf.folder, &name).kind)
		return false;
	/* What is told from here on is told of this folder. */
	imap_wire_forget_folder(client->wire);
	bool is_put = put_select(imap, name ? name : imap->folder, wants_modseq(imap), line);
	free(name);
	return is_put;
}

/* Finds the name of the folder and selects it. */
static struct err find_and_select(struct imap *imap)
{
	char *below = NULL;

	TRY(find_name(imap, imap->conf.folder, &imap->folder));
	TRY(try_select(imap, imap->folder));
	struct err err = imap_outcome(&imap->client, PHASE_SELECT);
	if (!err.kind || !may_be_missing(imap))
		return err;
	TRY(find_below_inbox(imap, imap->conf.folder, &below));
	if (!below)
		return err;
	free(imap->folder);
	imap->folder = below;
	TRY(try_select(imap, below));
	return imap_outcome(&imap->client, PHASE_SELECT);
}

/* By a name that was good before; found anew if it is not any more. */
static struct err select_known(struct imap *imap, bool is_first)
{
	TRY(try_select(imap, imap->folder));
	struct err err = imap_outcome(&imap->client, PHASE_SELECT);
	if (!err.kind || !is_first || !may_be_missing(imap))
		return err;
	remember_name(imap, NULL);
	free(imap->folder);
	imap->folder = NULL;
	return find_and_select(imap);
}

struct err imap_select(struct imap *imap)
{
	/* A connection to another machine may speak another revision. */
	if (imap->folder && imap->is_folder_rev2 != imap->client.is_rev2) {
		free(imap->folder);
		imap->folder = NULL;
	}
	bool is_first = !imap->folder;
	imap->is_folder_rev2 = imap->client.is_rev2;
	if (is_first)
		imap->folder = name_unasked(imap, &imap->client);
	struct err err = imap->folder ? select_known(imap, is_first) : find_and_select(imap);
	if (!err.kind && is_first)
		remember_name(imap, imap->folder);
	imap_client_trim(&imap->client);
	return err;
}

struct err imap_folder_named(struct imap *imap, const char *folder, char **out)
{
	char *below = NULL;
	bool is_there = true;

	*out = NULL;
	struct err err = find_name(imap, folder, out);
	if (!err.kind && folder[0] != '\\' && strcmp(*out, "INBOX") != 0)
		err = is_listed(imap, *out, &is_there);
	if (!err.kind && !is_there)
		err = find_below_inbox(imap, folder, &below);
	if (below) {
		free(*out);
		*out = below;
	}
	imap_client_trim(&imap->client);
	if (err.kind) {
		free(*out);
		*out = NULL;
	}
	return err;
}
