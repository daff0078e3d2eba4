/* SPDX-License-Identifier: MIT */
/* imap_run.c - one case of the IMAP store before a scripted server. */
#include "tests/unit/imap_run.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "upstream/identity.h"
#include "upstream/imap_memo.h"
#include "upstream/imap_quirks.h"

static struct err spoon_put(struct sink *sink, const void *octets, size_t len)
{
	struct spoon *spoon = (struct spoon *)sink;

	spoon->puts++;
	assert(len > 0);
	if (buf_len(&spoon->got) + len > spoon->fail_at)
		return ERR(ERR_CLIENT, 77, "the client is gone");
	return buf_put(&spoon->got, octets, len) ? OK : ERR(ERR_REFUSED, 0, "spoon full");
}

static const char *const kinds[] = {"ok",     "refused", "message",  "login",
				    "in-use", "policy",  "upstream", "client"};

void run_problem(struct run *run, const char *format, ...)
{
	va_list ap;

	if (*run->problem)
		return;
	va_start(ap, format);
	vsnprintf(run->problem, sizeof run->problem, format, ap);
	va_end(ap);
}

static void check_kind(struct run *run, const char *note, struct err err, const char *want)
{
	if (strcmp(kinds[err.kind], want) != 0)
		run_problem(run, "\"%s\": came to %s %d \"%s\"; %s", note, kinds[err.kind],
			    err.code, err.what ? err.what : "", run->script.failure);
}

static char *keep_word(struct run *run, const char *value)
{
	char *to = run->words[run->words_used++], *out = to;

	assert(run->words_used <= 12 && strlen(value) < sizeof run->words[0]);
	for (; *value; value++) {
		if (*value == '%' && value[1] && value[2]) {
			char hex[3] = {value[1], value[2], '\0'};
			*to++ = (char)strtoul(hex, NULL, 16);
			value += 2;
		} else {
			*to++ = *value;
		}
	}
	*to = '\0';
	return out;
}

static void set_delete(struct run *run, char *value)
{
	static const char *const ways[] = {"default", "expunge", "trash", "archive",
					   "flag",    "hide",    "never"};
	char *folder = strchr(value, ':');

	if (folder)
		*folder++ = '\0';
	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
		if (strcmp(value, ways[i]) == 0)
			run->conf.delete_policy = (enum delete_policy)i;
	if (folder)
		run->conf.archive = keep_word(run, folder);
}

/* What needs the state, or says what is shown. */
static bool set_memory(struct run *run, const char *word, const char *value)
{
	static const char *const policies[] = {"match", "new", "refuse"};
	struct upstream_conf *conf = &run->conf;

	if (strcmp(word, "state") == 0)
		conf->state = &run->state.store;
	else if (strcmp(word, "memos") == 0)
		conf->memos = run->memos;
	else if (strcmp(word, "warm") == 0)
		conf->warm = run->warm;
	else if (strcmp(word, "keep") == 0)
		run->warm_conf.keep_ms = 1000 * strtoul(value, NULL, 10);
	else if (strcmp(word, "fresh") == 0)
		run->warm_conf.fresh_ms = 1000 * strtoul(value, NULL, 10);
	else if (strcmp(word, "connections") == 0)
		conf->connections = (unsigned)strtoul(value, NULL, 10);
	else if (strcmp(word, "most") == 0)
		run->warm_conf.most = strtoul(value, NULL, 10);
	else if (strcmp(word, "proof") == 0)
		run->warm_conf.proof_ms = 1000 * strtoul(value, NULL, 10);
	else if (strcmp(word, "uidl") == 0) {
		if (uidl_format_parse(value, &run->uidl))
			run_problem(run, "uidl=%s", value);
		conf->uidl = &run->uidl;
	} else if (strcmp(word, "newest") == 0)
		conf->newest = (uint32_t)strtoul(value, NULL, 10);
	else if (strcmp(word, "newest-first") == 0)
		conf->newest_first = true;
	else if (strcmp(word, "sizes-exact") == 0)
		conf->measure_sizes = true;
	else if (strcmp(word, "poison") == 0)
		conf->poison_policy = strcmp(value, "hide") == 0 ? POISON_HIDE : POISON_ERROR;
	else if (strcmp(word, "host") == 0)
		conf->host = keep_word(run, value);
	else if (strcmp(word, "port") == 0)
		conf->port = (unsigned)strtoul(value, NULL, 10);
	else if (strcmp(word, "uidvalidity") == 0) {
		for (size_t i = 0; i < 3; i++)
			if (strcmp(value, policies[i]) == 0)
				conf->uidvalidity_policy = (enum uidvalidity_policy)i;
	} else
		return false;
	return true;
}

static void set_conf(struct run *run, char *words)
{
	for (char *word = strtok(words, " "); word; word = strtok(NULL, " ")) {
		char *value = strchr(word, '=');
		if (value)
			*value++ = '\0';
		if (strcmp(word, "tls") == 0)
			run->conf.tls = strcmp(value, "tls") == 0        ? UPSTREAM_TLS
					: strcmp(value, "starttls") == 0 ? UPSTREAM_STARTTLS
									 : UPSTREAM_CLEAR;
		else if (strcmp(word, "folder") == 0)
			run->conf.folder = keep_word(run, value);
		else if (strcmp(word, "delete") == 0)
			set_delete(run, value);
		else if (set_memory(run, word, value))
			continue;
		else if (strcmp(word, "unflag") == 0)
			run->conf.may_unflag = true;
		else if (strcmp(word, "create") == 0)
			run->conf.may_create = true;
		else if (strcmp(word, "after") == 0)
			run->conf.delete_after_s = strtoull(value, NULL, 10);
		else if (strcmp(word, "quirks") == 0)
			run->conf.quirks = imap_quirks_named(value);
		else if (strcmp(word, "seen") == 0)
			run->conf.seen_policy =
				strcmp(value, "on-retr") == 0 ? SEEN_ON_RETR : SEEN_ON_QUIT;
		else if (strcmp(word, "badcert") == 0)
			run->script.world.secure_err = ERR(ERR_POLICY, 0, "bad certificate");
		else if (strcmp(word, "stored") == 0)
			run->is_stored = true;
		else if (strcmp(word, "user") == 0 || strcmp(word, "password") == 0)
			memcpy(run->words[word[0] == 'p'], keep_word(run, value), 200);
		else if (!run_set_login(run, word, keep_word(run, value ? value : "")))
			run_problem(run, "conf: what is %s?", word);
	}
	imap_warm_configure(run->warm, &run->warm_conf);
}

static void tend_parked(struct run *run)
{
	struct parked *due;

	while ((due = imap_warm_due(run->warm)))
		imap_warm_tend(run->warm, due);
}

static void pass_time(struct run *run, uint64_t seconds)
{
	run->script.world.now_ms += 1000 * seconds;
	tend_parked(run);
}

static void drop_parked(struct run *run)
{
	imap_warm_drop(run->warm);
	tend_parked(run);
}

void run_open(struct run *run, const char *note, const char *kind)
{
	struct login login = run_login(run);
	struct err err = imap_ops.open(&run->script.world.env, &run->log, &run->conf, &login,
				       &run->why, &run->upstream);

	check_kind(run, note, err, kind);
	if (err.kind && run->upstream)
		run_problem(run, "open failed and left something open");
	if (err.kind && run->script.stream)
		run_problem(run, "open failed and left its connection open");
}

void run_list(struct run *run, const char *note, const char *kind, const char *rest)
{
	unsigned long count, octets;
	struct err err = imap_ops.list(run->upstream, &run->maildrop);

	check_kind(run, note, err, kind);
	if (!err.kind && sscanf(rest, "%lu %lu", &count, &octets) == 2 &&
	    (run->maildrop.count != count || run->maildrop.octets != octets))
		run_problem(run, "\"%s\": %zu messages, %llu octets", note, run->maildrop.count,
			    (unsigned long long)run->maildrop.octets);
}

struct message *run_message(struct run *run, const char *uid)
{
	for (size_t i = 0; i < run->maildrop.total; i++)
		if (run->maildrop.messages[i].uid == strtoul(uid, NULL, 10))
			return &run->maildrop.messages[i];
	run_problem(run, "no message has the UID %s", uid);
	return NULL;
}

static void do_fetch(struct run *run, const char *note, char *which, const char *kind,
		     const char *text)
{
	unsigned long long from = 0, octets = 0;
	struct message *msg = run_message(run, which);
	char *colon = strchr(which, ':');
	struct buf want;

	if (!msg)
		return;
	if (colon)
		sscanf(colon, ":%llu+%llu", &from, &octets);
	struct part part = {from, octets};
	buf_drop(&run->spoon.got, buf_len(&run->spoon.got));
	struct err err =
		imap_ops.fetch(run->upstream, &run->maildrop, msg, &part, &run->spoon.sink);
	check_kind(run, note, err, kind);
	buf_init(&want, 1 << 20);
	imap_script_unescape(&want, text, strlen(text));
	bool is_same = buf_len(&want) == buf_len(&run->spoon.got) &&
		       (!buf_len(&want) ||
			memcmp(buf_data(&want), buf_data(&run->spoon.got), buf_len(&want)) == 0);
	if (*text && !is_same)
		run_problem(run, "\"%s\": the sink got \"%.*s\"", note,
			    (int)buf_len(&run->spoon.got), buf_data(&run->spoon.got));
	buf_fini(&want);
}

static void do_announce(struct run *run, const char *list)
{
	struct announced announced[20];
	unsigned long long from, octets;
	char uid[12];
	size_t count = 0;
	int len;

	while (list && count < 20 && sscanf(list, " %11[0-9]%n", uid, &len) == 1) {
		struct announced *one = &announced[count++];
		*one = (struct announced){.message = run_message(run, uid)};
		list += len;
		if (sscanf(list, ":%llu+%llu%n", &from, &octets, &len) == 2) {
			one->part = (struct part){from, octets};
			list += len;
		}
	}
	imap_ops.announce(run->upstream, &run->maildrop, announced, count);
}

static void close_with(struct run *run, const struct maildrop *maildrop)
{
	if (run->upstream)
		imap_ops.close(run->upstream, maildrop, NULL, NULL);
	run->upstream = NULL;
	maildrop_fini(&run->maildrop);
	*run->maildrop.prefix = '\0';
}

void run_close(struct run *run)
{
	close_with(run, *run->maildrop.prefix ? &run->maildrop : NULL);
}

/* A line that begins with ">". */
static void act(struct run *run, const char *note)
{
	char line[1000], none[] = "", *part[4] = {none, none, none, none}, *save = NULL;

	snprintf(line, sizeof line, "%s", note + 1);
	if (strncmp(line, " conf ", 6) == 0) {
		set_conf(run, line + 6);
		return;
	}
	part[0] = strtok_r(line, " ", &save);
	if (strcmp(part[0], "whole") == 0)
		return;
	for (int i = 1; i < 3 && save && *save; i++)
		part[i] = strtok_r(NULL, " ", &save);
	if (save)
		part[3] = save;
	if (run_act_state(run, note, part))
		return;
	if (strcmp(part[0], "rest") == 0)
		pass_time(run, strtoull(part[1], NULL, 10));
	else if (strcmp(part[0], "reload") == 0)
		drop_parked(run);
	else if (strcmp(part[0], "open") == 0)
		run_open(run, note, part[1]);
	else if (!run->upstream)
		run_problem(run, "\"%s\": nothing is open", note);
	else if (strcmp(part[0], "list") == 0) {
		char rest[100];
		snprintf(rest, sizeof rest, "%s %s", part[2], part[3]);
		run_list(run, note, part[1], rest);
	} else if (strcmp(part[0], "fetch") == 0)
		do_fetch(run, note, part[1], part[2], part[3]);
	else if (strcmp(part[0], "announce") == 0)
		do_announce(run, strchr(note + 2, ' '));
	else if (strcmp(part[0], "sink") == 0)
		run->spoon.fail_at = strtoul(part[1], NULL, 10);
	else if (strcmp(part[0], "delete") == 0 && run_message(run, part[1]))
		maildrop_delete(&run->maildrop, run_message(run, part[1]));
	else if (strcmp(part[0], "retrieved") == 0 && run_message(run, part[1])) {
		run_message(run, part[1])->marks |= MARK_RETRIEVED;
		imap_ops.retrieved(run->upstream, run_message(run, part[1]));
	} else if (strcmp(part[0], "nudge") == 0)
		imap_ops.nudge(run->upstream);
	else if (strcmp(part[0], "cut") == 0)
		imap_ops.cut(run->upstream);
	else if (strcmp(part[0], "due") == 0 && run_message(run, part[1]))
		run_message(run, part[1])->marks |= MARK_DUE;
	else if (strcmp(part[0], "update") == 0)
		check_kind(run, note, imap_ops.update(run->upstream, &run->maildrop), part[1]);
	else if (strcmp(part[0], "close") == 0)
		run_close(run);
	else if (strcmp(part[0], "measured") == 0 && run_message(run, part[1]))
		maildrop_measure(&run->maildrop, run_message(run, part[1]),
				 strtoull(part[2], NULL, 10));
	else
		run_problem(run, "\"%s\": no such thing to do", note);
}

static void check_size(struct run *run, const char *note, const char *rest)
{
	struct message *msg = run_message(run, rest);
	unsigned long uid, octets;

	if (!msg || sscanf(rest, "%lu %lu", &uid, &octets) != 2)
		return;
	bool is_inexact = strstr(rest, "inexact") != NULL;
	if (msg->octets != octets || is_inexact != !!(msg->marks & MARK_INEXACT))
		run_problem(run, "\"%s\": size %llu marks %u", note,
			    (unsigned long long)msg->octets, (unsigned)msg->marks);
}

static bool has_marks(struct run *run, const char *rest)
{
	struct message *msg = run_message(run, rest);

	return msg && !!(msg->marks & MARK_EXACT) == !!strstr(rest, "exact") &&
	       !!(msg->marks & MARK_STUB) == !!strstr(rest, "stub") &&
	       !!(msg->marks & MARK_DUE) == !!strstr(rest, "due");
}

/* A line that begins with "?". */
static void check(struct run *run, const char *note)
{
	const char *word = note + 2, *rest = strchr(word, ' ') ? strchr(word, ' ') + 1 : "";
	const char *sent = imap_script_sent(&run->script);
	bool is_good = false;

	if (strncmp(word, "never ", 6) == 0)
		is_good = !strstr(sent, rest);
	else if (strncmp(word, "sent ", 5) == 0)
		is_good = strstr(sent, rest) != NULL;
	else if (strncmp(word, "why ", 4) == 0)
		is_good = strcmp(run->why.text, rest) == 0;
	else if (strncmp(word, "limits ", 7) == 0)
		is_good = strncmp(imap_script_limits(&run->script), rest, strlen(rest)) == 0;
	else if (strncmp(word, "dials ", 6) == 0)
		is_good = run->script.world.dials == strtoul(rest, NULL, 10);
	else if (strncmp(word, "secures ", 8) == 0)
		is_good = run->script.world.secures == strtoul(rest, NULL, 10);
	else if (strncmp(word, "parked ", 7) == 0)
		is_good = imap_warm_count(run->warm) == strtoul(rest, NULL, 10);
	else if (strncmp(word, "warm ", 5) == 0)
		is_good = run->upstream && run->upstream->is_warm == (*rest == 'y');
	else if (strncmp(word, "trips ", 6) == 0)
		is_good = run->upstream && run->upstream->round_trips == strtoul(rest, NULL, 10);
	else if (strncmp(word, "readonly ", 9) == 0)
		is_good = run->upstream && run->upstream->is_read_only == (*rest == 'y');
	else if (strncmp(word, "announced ", 10) == 0)
		is_good = run->spoon.sink.announced_octets == strtoul(rest, NULL, 10);
	else if (strncmp(word, "uidl ", 5) == 0)
		is_good = run_has_uidl(run, rest);
	else if (strncmp(word, "marks ", 6) == 0)
		is_good = has_marks(run, rest);
	else if (strncmp(word, "size ", 5) == 0) {
		check_size(run, note, rest);
		is_good = true;
	} else
		is_good = run_check_login(run, word, rest);
	if (!is_good)
		run_problem(run, "\"%s\" is not so; limits: %s, sent: %s", note,
			    imap_script_limits(&run->script), sent);
}

void run_init(struct run *run, const char *text, size_t chunk)
{
	memset(run, 0, sizeof *run);
	imap_script_init(&run->script, text);
	run->script.chunk = chunk;
	run->conf = (struct upstream_conf){
		.ops = &imap_ops,
		.host = "Imap.Example.com",
		.port = 143,
		.folder = "INBOX",
		.name = "joe",
		.delete_after_s = DELETE_AFTER_NEVER,
	};
	run->words_used = 2;
	strcpy(run->words[0], "joe");
	strcpy(run->words[1], "secret");
	run->spoon = (struct spoon){.sink = {.put = spoon_put}, .fail_at = SIZE_MAX};
	buf_init(&run->spoon.got, 64 << 20);
	maildrop_init(&run->maildrop);
	state_memory_init(&run->state);
	run->memos = imap_memos_new();
	run->warm_conf = (struct imap_warm_conf){
		.keep_ms = 600000,
		.fresh_ms = 60000,
		.proof_ms = 900000,
		.most = 10,
		.octets = 1 << 20,
	};
	run->warm = imap_warm_new(&run->script.world.env, &run->log, &run->warm_conf);
	run_login_init(run);
}

void run_fini(struct run *run)
{
	close_with(run, NULL);
	state_memory_fini(&run->state);
	drop_parked(run);
	imap_warm_free(run->warm);
	imap_memos_free(run->memos);
	run_login_fini(run);
	buf_fini(&run->spoon.got);
	imap_script_fini(&run->script);
}

void run_notes(struct run *run)
{
	char note[1000];

	while (!*run->problem && !*run->script.failure &&
	       imap_script_note(&run->script, note, sizeof note)) {
		if (*note == '>')
			act(run, note);
		else
			check(run, note);
	}
	close_with(run, NULL);
	if (*run->script.failure)
		run_problem(run, "%s", run->script.failure);
}
