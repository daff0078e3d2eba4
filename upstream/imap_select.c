/* SPDX-License-Identifier: MIT */
/* imap_select.c - which folder the map means, and opening it.
 *
 * Most names go out as they are. One with "/" needs the server's own delimiter and perhaps a prefix
 * ("INBOX."); one such as \Trash names a use, not a folder, for the names are localised (B-18). */
#include "upstream/imap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/buf.h"
#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "upstream/imap_name.h"

enum { NAME_OCTETS = 1000 }; /* the longest name on the wire */

static const struct err bad_name = {ERR_POLICY, 0, "the folder's name cannot be sent"};

/* The name on the wire: `prefix` unless the name has it, then the name with its delimiter. */
static struct err encode(const char *prefix, const char *name, char delimiter, char **out)
{
	struct buf coded;
	struct err err = bad_name;
	size_t prefix_len = strlen(prefix);

	buf_init(&coded, NAME_OCTETS);
	*out = NULL;
	if (!imap_name_encode(&coded, name, delimiter) || !buf_len(&coded))
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

/* The folder of a special use (RFC 6154). */
static struct err find_use(struct imap *imap, char **out)
{
	struct imap_client *client = &imap->client;
	unsigned both = CAP_SPECIAL_USE | CAP_LIST_EXTENDED;
	const char *use = imap->conf.folder;

	*out = NULL;
	if ((client->caps & both) == both)
		TRY(imap_command(client, PHASE_SELECT,
				 "LIST (SPECIAL-USE) \"\" \"*\" RETURN (SPECIAL-USE)"));
	else
		TRY(imap_command(client, PHASE_SELECT, "LIST \"\" \"*\""));
	clist *list = listed(imap);
	for (clistiter *at = list ? clist_begin(list) : NULL; at; at = clist_next(at)) {
		const struct mailimap_mailbox_list *entry = clist_content(at);
		if (!has_use(entry, use))
			continue;
		if (!entry->mb_name || !imap_is_quotable(entry->mb_name) ||
		    strlen(entry->mb_name) > NAME_OCTETS)
			return bad_name;
		*out = text_dup(entry->mb_name);
		return OK;
	}
	return ERR(ERR_POLICY, 0, "the mail server has no folder of that use");
}

/* A list that the server cannot have told: so "not told" differs from "()", which libetpan keeps as
 * NULL. */
static clist *untold_flags(void)
{
	clist *list = clist_new();
	struct mailimap_flag_perm *any = mailimap_flag_perm_new(MAILIMAP_FLAG_PERM_ALL, NULL);

	if (list && any && clist_append(list, any) == 0)
		return list;
	if (list)
		clist_free(list);
	if (any)
		mailimap_flag_perm_free(any);
	return NULL;
}

static bool permits(const clist *flags, int type)
{
	for (clistiter *at = clist_begin(flags); at; at = clist_next(at)) {
		const struct mailimap_flag_perm *flag = clist_content(at);
		if (flag->fl_type == MAILIMAP_FLAG_PERM_FLAG && flag->fl_flag &&
		    flag->fl_flag->fl_type == type)
			return true;
	}
	return false;
}

/* What a successful SELECT told. */
static struct err selected(struct imap *imap, const clist *untold)
{
	mailimap *im = imap->client.im;
	const struct mailimap_selection_info *info = im->imap_selection_info;

	if (!info || !info->sel_uidvalidity)
		return ERR(ERR_UPSTREAM, 0, "the folder's UIDs do not last");
	if (!imap_wire_has_exists(imap->client.wire))
		return ERR(ERR_UPSTREAM, 0, "the mail server does not say how many messages");
	if (imap->uidvalidity && imap->uidvalidity != info->sel_uidvalidity) {
		imap->is_void = true;
		return ERR(ERR_UPSTREAM, 0, "the folder is not the same as before");
	}
	imap->uidvalidity = info->sel_uidvalidity;
	bool may_delete =
		info->sel_perm_flags == untold ||
		(info->sel_perm_flags && permits(info->sel_perm_flags, MAILIMAP_FLAG_DELETED));
	imap->is_folder_read_only =
		!may_delete || info->sel_perm == MAILIMAP_MAILBOX_READONLY ||
		text_same(imap_wire_status(imap->client.wire)->code, "READ-ONLY");
	return OK;
}

/* One SELECT or EXAMINE; the outcome is left in the wire's status. */
static struct err try_select(struct imap *imap, const char *name)
{
	struct imap_client *client = &imap->client;
	bool will_write =
		imap->conf.delete_policy != DELETE_NEVER || imap->conf.seen_policy != SEEN_NEVER;
	struct buf words;
	int tag;

	if (client->im->imap_selection_info)
		mailimap_selection_info_free(client->im->imap_selection_info);
	client->im->imap_selection_info = mailimap_selection_info_new();
	if (!client->im->imap_selection_info)
		return ERR(ERR_UPSTREAM, ENOMEM, "out of memory");
	clist *untold = untold_flags();
	client->im->imap_selection_info->sel_perm_flags = untold;
	buf_init(&words, 2 * NAME_OCTETS + 2);
	struct err err = bad_name;
	if (imap_quote(&words, name))
		/* Courier forgets the UIDVALIDITY of a folder that was only examined (N-12). */
		err = imap_send(client, &tag, "%s %.*s",
				will_write || client->is_courier ? "SELECT" : "EXAMINE",
				(int)buf_len(&words), buf_data(&words));
	buf_fini(&words);
	if (!err.kind)
		err = imap_receive(client, PHASE_SELECT, tag);
	if (!err.kind && imap_was(client, WIRE_OK))
		err = selected(imap, untold);
	return err;
}

/* The name that the map means, before any SELECT; *out is owned. */
static struct err find_name(struct imap *imap, char **out)
{
	const char *folder = imap->conf.folder;
	char delimiter = 0;

	*out = NULL;
	if (text_same(folder, "INBOX")) {
		*out = text_dup("INBOX");
		return OK;
	}
	if (folder[0] == '\\')
		return find_use(imap, out);
	if (strchr(folder, '/'))
		TRY(find_delimiter(imap, &delimiter));
	return encode("", folder, delimiter, out);
}

/* A folder that does not exist may stand below INBOX, where Courier, Cyrus and others keep all
 * personal ones. *out: that name, if the server lists it, else NULL. */
static struct err find_below_inbox(struct imap *imap, char **out)
{
	char prefix[] = "INBOX/", delimiter;
	struct buf words;

	*out = NULL;
	TRY(find_delimiter(imap, &delimiter));
	if (!delimiter)
		return OK;
	prefix[5] = delimiter;
	TRY(encode(prefix, imap->conf.folder, delimiter, out));
	buf_init(&words, 2 * NAME_OCTETS + 2);
	struct err err = imap_quote(&words, *out)
				 ? imap_command(&imap->client, PHASE_SELECT, "LIST \"\" %.*s",
						(int)buf_len(&words), buf_data(&words))
				 : bad_name;
	buf_fini(&words);
	if (!err.kind && listed(imap) && clist_count(listed(imap)) == 1)
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

struct err imap_select(struct imap *imap)
{
	char *below = NULL;

	bool is_first = !imap->folder;
	if (is_first)
		TRY(find_name(imap, &imap->folder));
	TRY(try_select(imap, imap->folder));
	struct err err = imap_outcome(&imap->client, PHASE_SELECT);
	if (err.kind && is_first && may_be_missing(imap)) {
		TRY(find_below_inbox(imap, &below));
		if (!below)
			return err;
		free(imap->folder);
		imap->folder = below;
		TRY(try_select(imap, below));
		err = imap_outcome(&imap->client, PHASE_SELECT);
	}
	imap_client_trim(&imap->client);
	return err;
}
