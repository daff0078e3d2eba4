/* SPDX-License-Identifier: MIT */
/* talk.c - a whole IMAP session through the doorman and libetpan. */
#include "tests/fake/talk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libetpan/libetpan.h>

struct session {
	struct talk *talk;
	struct imap_wire *wire;
	mailimap *im;
	uint64_t max_body;
};

/* libetpan loses memory on odd replies; that is not what is looked for. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libetpan.so\n";
}

static void on_body(void *arg, const struct wire_body *body)
{
	struct talk *talk = arg;

	talk->bodies++;
	talk->last = *body;
}

static bool on_octets(int type, struct mailimap_msg_att_body_section *section, const char *octets,
		      size_t len, void *arg)
{
	struct talk *talk = arg;

	(void)type;
	(void)section;
	for (size_t i = 0; i < len && talk->body_octets + i < TALK_BODY; i++)
		talk->body[talk->body_octets + i] = octets[i];
	talk->body_octets += len;
	talk->body_calls++;
	return true;
}

static void on_item(void *arg, const struct wire_item *item)
{
	struct talk *talk = arg;

	if (talk->messages < TALK_MESSAGES) {
		talk->message[talk->messages] = *item;
		talk->message[talk->messages].header = NULL; /* borrowed for this call */
	}
	talk->messages++;
	for (size_t i = 0; item->header && i < item->header_len; i++)
		talk->header_sum += (unsigned char)item->header[i];
	talk->has_lied |= item->header_len > WIRE_LITERAL || (!item->header && item->header_len) ||
			  (!item->number && !item->has_uid) || (item->has_uid && !item->uid) ||
			  (item->has_octets && !item->octets) ||
			  strlen(item->email_id) >= sizeof item->email_id ||
			  strlen(item->gm_msgid) >= sizeof item->gm_msgid;
}

static void on_found(void *arg, uint32_t low, uint32_t high)
{
	struct talk *talk = arg;

	talk->found++;
	talk->has_lied |= !low || low > high;
}

static void expect(struct session *session)
{
	char tag[16];

	snprintf(tag, sizeof tag, "%d", session->im->imap_tag + 1);
	imap_wire_expect_tag(session->wire, tag);
}

static int do_connect(struct session *session)
{
	int r = mailimap_connect(session->im, mailstream_new(imap_wire_low(session->wire), 2048));

	return r == MAILIMAP_NO_ERROR_AUTHENTICATED || r == MAILIMAP_NO_ERROR_NON_AUTHENTICATED
		       ? MAILIMAP_NO_ERROR
		       : r;
}

static int do_login(struct session *session)
{
	return mailimap_login(session->im, "joe", "sesame");
}

/* As mailimap_capability() must not be called: see imap_wire.h. */
static int do_capability(struct session *session)
{
	mailimap *im = session->im;
	struct mailimap_response *response;

	if (mailimap_send_current_tag(im) ||
	    mailstream_write(im->imap_stream, "CAPABILITY\r\n", 12) < 0 ||
	    mailstream_flush(im->imap_stream) || !mailimap_read_line(im))
		return MAILIMAP_ERROR_STREAM;
	int r = mailimap_parse_response(im, &response);
	if (r == MAILIMAP_NO_ERROR)
		mailimap_response_free(response);
	if (im->imap_connection_info && im->imap_connection_info->imap_capability) {
		clist *list = im->imap_connection_info->imap_capability->cap_list;
		session->talk->capabilities = list ? (unsigned)clist_count(list) : 0;
	}
	return r;
}

static int do_select(struct session *session)
{
	imap_wire_forget_folder(session->wire);
	int r = mailimap_select(session->im, "INBOX");
	session->talk->selected = *imap_wire_folder(session->wire);
	return r;
}

static int fetch(struct session *session, struct mailimap_set *set,
		 struct mailimap_fetch_type *type)
{
	clist *list = NULL;
	int r = mailimap_uid_fetch(session->im, set, type, &list);

	if (r == MAILIMAP_NO_ERROR)
		mailimap_fetch_list_free(list);
	mailimap_fetch_type_free(type);
	mailimap_set_free(set);
	return r;
}

static int do_list(struct session *session)
{
	struct mailimap_fetch_type *type = mailimap_fetch_type_new_fetch_att_list_empty();

	mailimap_fetch_type_new_fetch_att_list_add(type, mailimap_fetch_att_new_uid());
	mailimap_fetch_type_new_fetch_att_list_add(type, mailimap_fetch_att_new_rfc822_size());
	mailimap_fetch_type_new_fetch_att_list_add(type, mailimap_fetch_att_new_flags());
	return fetch(session, mailimap_set_new_interval(1, 0), type);
}

static int do_folders(struct session *session)
{
	clist *list = NULL;
	int r = mailimap_list(session->im, "", "*", &list);

	if (r != MAILIMAP_NO_ERROR)
		return r;
	session->talk->folders = (unsigned)clist_count(list);
	for (clistiter *at = clist_begin(list); at; at = clist_next(at)) {
		struct mailimap_mailbox_list *folder = clist_content(at);
		snprintf(session->talk->folder, sizeof session->talk->folder, "%s",
			 folder->mb_name);
	}
	mailimap_list_result_free(list);
	return r;
}

static int do_search(struct session *session)
{
	struct mailimap_search_key *key = mailimap_search_key_new_all();
	clist *list = NULL;
	imap_wire_expect_found(session->wire, on_found, session->talk);
	int r = mailimap_uid_search(session->im, NULL, key, &list);

	session->talk->has_found = imap_wire_has_found(session->wire);
	imap_wire_expect_found(session->wire, NULL, NULL);
	if (r == MAILIMAP_NO_ERROR && list)
		mailimap_search_result_free(list);
	mailimap_search_key_free(key);
	return r;
}

static int do_body(struct session *session)
{
	imap_wire_expect_body(session->wire, session->max_body, on_body, session->talk);
	return fetch(session, mailimap_set_new_single(7),
		     mailimap_fetch_type_new_fetch_att(
			     mailimap_fetch_att_new_body_peek_section(mailimap_section_new(NULL))));
}

static int do_store(struct session *session)
{
	struct mailimap_flag_list *flags = mailimap_flag_list_new_empty();

	mailimap_flag_list_add(flags, mailimap_flag_new_deleted());
	struct mailimap_store_att_flags *store =
		mailimap_store_att_flags_new_add_flags_silent(flags);
	struct mailimap_set *set = mailimap_set_new_single(7);
	int r = mailimap_uid_store(session->im, set, store);
	mailimap_store_att_flags_free(store);
	mailimap_set_free(set);
	return r;
}

static int do_expunge(struct session *session)
{
	struct mailimap_set *set = mailimap_set_new_single(7);
	int r = mailimap_uid_expunge(session->im, set);

	mailimap_set_free(set);
	return r;
}

static int do_logout(struct session *session)
{
	return mailimap_logout(session->im);
}

static bool goes_on(const struct session *session, enum talk_step step, int r)
{
	enum wire_outcome outcome = imap_wire_status(session->wire)->outcome;

	if (imap_wire_is_dead(session->wire))
		return false;
	if (r == MAILIMAP_NO_ERROR || outcome == WIRE_NO)
		return true;
	return step == TALK_CAPABILITY && r == MAILIMAP_ERROR_PROTOCOL && outcome == WIRE_BAD;
}

static void note_end(struct talk *talk, const struct imap_wire *wire)
{
	talk->err = imap_wire_error(wire);
	talk->words = strlen(imap_wire_id(wire)) + strlen(imap_wire_greeting(wire)) +
		      strlen(imap_wire_capabilities(wire)) + strlen(imap_wire_enabled(wire));
	talk->has_lied |= talk->words > 16384;
	talk->status = *imap_wire_status(wire);
	talk->bye = *imap_wire_bye(wire);
	memcpy(talk->alert, imap_wire_alert(wire), sizeof talk->alert);
	talk->wire_exists = imap_wire_exists(wire);
	talk->expunges = imap_wire_expunges(wire);
	talk->has_vanished = imap_wire_vanished(wire);
	talk->round_trips = imap_wire_round_trips(wire);
}

void talk_run(struct talk *talk, struct stream *stream, uint64_t max_body)
{
	static int (*const steps[TALK_STEPS])(struct session *) = {
		do_connect, do_login, do_capability, do_select,  do_list,   do_folders,
		do_search,  do_body,  do_store,      do_expunge, do_logout,
	};
	struct session session = {.talk = talk, .max_body = max_body};

	*talk = (struct talk){.done = 0};
	for (int i = 0; i < TALK_STEPS; i++)
		talk->results[i] = -1;
	session.wire = imap_wire_new(stream, NULL);
	session.im = mailimap_new(0, NULL);
	imap_wire_expect_items(session.wire, on_item, talk);
	mailimap_set_msg_body_handler(session.im, on_octets, talk);
	for (enum talk_step step = 0; step < TALK_STEPS; step++) {
		if (step != TALK_CONNECT)
			expect(&session);
		talk->results[step] = steps[step](&session);
		talk->done += talk->results[step] == MAILIMAP_NO_ERROR;
		if (!goes_on(&session, step, talk->results[step]))
			break;
	}
	note_end(talk, session.wire);
	imap_wire_kill(session.wire);
	mailimap_free(session.im);
	imap_wire_free(session.wire);
}
