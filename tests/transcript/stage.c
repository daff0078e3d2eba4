/* SPDX-License-Identifier: MIT */
/* stage.c - one performance of a script. */
#include "tests/transcript/stage.h"

#include <stdio.h>
#include <string.h>

#include "proxy/base/text.h"

static bool wrong(struct stage *stage, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static bool wrong(struct stage *stage, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	if (!*stage->wrong)
		vsnprintf(stage->wrong, sizeof stage->wrong, format, ap);
	va_end(ap);
	return false;
}

/* Says of output at `at` that it is not line `number`. */
static bool differs(struct stage *stage, size_t at, size_t number)
{
	const struct script *script = stage->script;
	const struct buf *output = &stage->client.output;
	char got[200], wanted[200];
	size_t left = buf_len(output) - at;
	const char *line = left ? buf_data(output) + at : "";
	const char *lf = left ? memchr(line, '\n', left) : NULL;

	text_printable(got, sizeof got, line, lf ? (size_t)(lf - line) + 1 : left, true);
	snprintf(wanted, sizeof wanted, "(nothing)");
	if (number < script->line_count)
		text_printable(wanted, sizeof wanted, script->lines[number].text,
			       script->lines[number].len, true);
	return wrong(stage, "S line %zu: wanted \"%s\", got \"%s\"", number + 1, wanted, got);
}

/* Whether the output so far is exactly the first `count` lines. */
static bool compare_output(struct stage *stage, size_t count)
{
	const struct buf *output = &stage->client.output;
	size_t at = 0;

	for (size_t i = 0; i < count; i++) {
		const struct script_line *line = &stage->script->lines[i];
		const char *got = buf_len(output) ? buf_data(output) + at : "";
		size_t left = buf_len(output) - at;
		if (left < line->len || memcmp(got, line->text, line->len))
			return differs(stage, at, i);
		const char *lf = memchr(got + line->len, '\n', left - line->len);
		if (line->is_broken ? !!lf : line->is_prefix && (!lf || lf[-1] != '\r'))
			return differs(stage, at, i);
		at += line->is_broken ? left : line->is_prefix ? (size_t)(lf - got) + 1 : line->len;
	}
	return at == buf_len(output) || differs(stage, at, count);
}

/* Before the session waits for the client it has said all that is due. */
static void on_read(struct canned *client, void *arg)
{
	struct stage *stage = arg;
	const struct script *script = stage->script;
	size_t due = script->turns[0].lines;

	if (client->at == client->input_len)
		stage->has_waited = true;
	if (stage->is_free || stage->way != WAY_WRITTEN || client->is_aborted || client->is_closed)
		return;
	for (size_t i = 0; client->at && i < script->turn_count; i++) {
		if (script->turns[i].octets > client->at)
			break;
		due = i + 1 < script->turn_count ? script->turns[i + 1].lines : script->line_count;
	}
	if (!*stage->wrong)
		compare_output(stage, due);
}

static void set_stops(struct stage *stage)
{
	const struct script *script = stage->script;

	for (size_t i = 0; i < script->turn_count; i++)
		if (stage->way == WAY_WRITTEN || script->turns[i].is_tls)
			stage->stops[stage->client.stop_count++] = script->turns[i].octets;
	stage->client.stops = stage->stops;
	stage->client.chunk = stage->way == WAY_OCTETS;
}

static void init_store(struct stage *stage)
{
	const struct script *script = stage->script;

	memcpy(stage->messages, script->messages, sizeof stage->messages);
	memory_init(&stage->store, stage->messages, script->message_count);
	stage->store.password = script->password;
	stage->store.alert = script->alert;
	stage->store.is_read_only = script->is_read_only;
	stage->store.chunk = stage->way == WAY_OCTETS;
	fault_init(&stage->fault, &stage->store.ops);
	stage->fault.fail_call = script->fail_call;
	stage->fault.kind = script->fail_kind ? script->fail_kind : ERR_UPSTREAM;
	stage->fault.is_late = script->is_fail_late;
	fake_accounts_init(&stage->accounts, script->users, script->user_count, &stage->fault.ops);
	if (script->has_every_way)
		stage->accounts.ways = ~0u;
	if (script->is_kept)
		stage->accounts.conf.delete_policy = DELETE_NEVER;
	if (script->is_unseen)
		stage->accounts.conf.seen_policy = SEEN_NEVER;
}

void stage_init(struct stage *stage, const struct script *script, enum script_way way)
{
	memset(stage, 0, sizeof *stage);
	stage->script = script;
	stage->way = way;
	fake_world_init(&stage->world);
	canned_init(&stage->client, ERR_CLIENT, buf_data(&script->input), buf_len(&script->input));
	stage->client.on_read = on_read;
	stage->client.arg = stage;
	if (script->is_lost)
		stage->client.cut = stage->client.input_len;
	set_stops(stage);
	init_store(stage);
	stage->locks = lock_table_new();
	if (script->is_locked && lock_take(stage->locks, &stage->world.env, stage->store.identity,
					   &(struct lock_holder){.name = "joe"}, 0, 0, &stage->held)
					 .kind)
		wrong(stage, "@locked: it cannot be locked");
	session_conf_init(&stage->conf);
	if (script->has_certificate)
		stage->conf.tls_identity = stage;
	stage->session = (struct session){
		.env = &stage->world.env,
		.conf = &stage->conf,
		.accounts = &stage->accounts.accounts,
		.locks = stage->locks,
		.is_tls = script->is_secure,
		.is_cleartext_allowed = !script->is_clear_refused,
	};
}

void stage_run(struct stage *stage)
{
	session_run(&stage->session, &stage->client.stream);
}

static bool is_named(const struct script_uids *uids, uint32_t uid)
{
	for (size_t i = 0; i < uids->count; i++)
		if (uids->uids[i] == uid)
			return true;
	return false;
}

static bool compare_store(struct stage *stage)
{
	const struct script *script = stage->script;

	for (size_t i = 0; i < script->message_count; i++) {
		const struct memory_message *msg = &stage->messages[i];
		if (script->left.is_said && is_named(&script->left, msg->uid) == msg->is_removed)
			return wrong(stage, "@left: message %u is%s there", (unsigned)msg->uid,
				     msg->is_removed ? " not" : "");
		if (script->seen.is_said && is_named(&script->seen, msg->uid) != msg->is_seen)
			return wrong(stage, "@seen: message %u is%s seen", (unsigned)msg->uid,
				     msg->is_seen ? "" : " not");
	}
	if (script->opens >= 0 && (uint64_t)script->opens != stage->fault.opens)
		return wrong(stage, "@opens: it was %zu", stage->fault.opens);
	if (script->slept_ms >= 0 && (uint64_t)script->slept_ms != stage->world.slept_ms)
		return wrong(stage, "@slept: it was %llu ms",
			     (unsigned long long)stage->world.slept_ms);
	return true;
}

bool stage_compare(struct stage *stage)
{
	if (*stage->wrong || !compare_output(stage, stage->script->line_count))
		return false;
	if (stage->script->is_closed == stage->has_waited)
		return wrong(stage, stage->has_waited ? "@close: it waited for more"
						      : "it closed without @close");
	return compare_store(stage);
}

bool stage_check(struct stage *stage)
{
	struct lock *lock = NULL;

	lock_release(stage->held);
	stage->held = NULL;
	if (stage->session.state != CLOSED)
		wrong(stage, "the session is not closed");
	if (!stage->client.is_closed)
		wrong(stage, "the client's stream is not closed");
	if (stage->fault.opens != stage->fault.closes || stage->store.opens != stage->store.closes)
		wrong(stage, "the store was opened %zu times and closed %zu times",
		      stage->fault.opens, stage->fault.closes);
	if (stage->accounts.given != stage->accounts.freed)
		wrong(stage, "%u accounts were given and %u freed", stage->accounts.given,
		      stage->accounts.freed);
	if (lock_take(stage->locks, &stage->world.env, stage->store.identity,
		      &(struct lock_holder){.name = "joe"}, 0, 0, &lock)
		    .kind)
		wrong(stage, "the maildrop is still locked");
	lock_release(lock);
	return !*stage->wrong;
}

void stage_fini(struct stage *stage)
{
	lock_release(stage->held);
	canned_fini(&stage->client);
	lock_table_free(stage->locks);
}
