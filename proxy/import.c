/* SPDX-License-Identifier: MIT */
/* import.c - `popgate import-uidl`: so that clients of a mailbox that moved fetch nothing again.
 *
 * Where the old UIDLs come from is one of two things. An old POP3 server that still answers is asked
 * for everything, and its messages are recognised by their headers. What a client has noted is only
 * UIDLs: of these are taken the ones that a known form makes of the UIDs and the UIDVALIDITY of the
 * new mailbox, or of a UIDVALIDITY that the operator vouches for. Nothing is guessed.
 *
 * Everything that needs root's rights is read first; then the process becomes the configured user,
 * opens the state, and one fiber does the work.
 */
#include "proxy/import.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/ask.h"
#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "proxy/config.h"
#include "proxy/file.h"
#include "proxy/map.h"
#include "proxy/privilege.h"
#include "proxy/secret.h"
#include "proxy/token_place.h"
#include "proxy/worker.h"

enum { DONE = 0, FAILED = 1, USAGE = 2, FILE_MAX = 1 << 28 /* octets of a client's notes */ };

/* The command line. Strings are argv's. */
struct options {
	const char *name;
	const char *from, *file, *account, *ca_file;
	enum import_file kind;
	bool has_format;
	struct uidl_format format;
	uint64_t uidvalidity; /* 0: the mailbox's own */
	bool is_dry, is_verbose, is_insecure, is_stdin;
	struct import_url url;
};

/* All that one run has. */
struct import {
	struct options options;
	struct config *config;
	struct map *map;
	struct map_target target;
	char *name;  /* canonical */
	char *notes; /* owned: the client's file, NULL with --from */
	size_t notes_len;
	struct ask password; /* of the old server */
	struct login login;
	struct token_place place; /* of the login's token, if it is one */
	struct worker worker;
	struct state_store *state;
	struct import_new new;
	struct import_list list;
	struct err err;
	struct notice why;
	size_t left_out;
	bool is_run;
};

/* --- the command line --------------------------------------------------------------------- */

static int usage(const char *wrong)
{
	fprintf(stderr, "popgate: import-uidl: %s\n", wrong);
	fputs("usage: popgate [-c FILE] import-uidl SOURCE [OPTIONS] NAME\n"
	      "  SOURCE is one of\n"
	      "    --from pop3s://USER@HOST[:PORT], pop3+starttls://..., pop3://...\n"
	      "    --fetchids FILE, --getmail FILE, --popstate FILE\n"
	      "  OPTIONS are --dry-run, --verbose, --password-stdin, --ca FILE, --insecure,\n"
	      "    --account USER@HOST, --format FORMAT, --uidvalidity NUMBER\n",
	      stderr);
	return USAGE;
}

static const char *set_file(struct options *options, enum import_file kind, const char *file)
{
	if (options->file)
		return "one source only";
	options->kind = kind;
	options->file = file;
	return NULL;
}

/* An option with an argument. NULL, or what is wrong. */
static const char *set_option(struct options *options, const char *option, const char *value)
{
	if (!strcmp(option, "--from")) {
		options->from = value;
		return import_url_parse(value, &options->url);
	}
	if (!strcmp(option, "--fetchids"))
		return set_file(options, IMPORT_FETCHIDS, value);
	if (!strcmp(option, "--getmail"))
		return set_file(options, IMPORT_GETMAIL, value);
	if (!strcmp(option, "--popstate"))
		return set_file(options, IMPORT_POPSTATE, value);
	if (!strcmp(option, "--account")) {
		options->account = value;
	} else if (!strcmp(option, "--ca")) {
		options->ca_file = value;
	} else if (!strcmp(option, "--format")) {
		options->has_format = true;
		const char *wrong = uidl_format_parse(value, &options->format);
		return wrong || !uidl_is_stable(&options->format) ? wrong
								  : "stable is not an old form";
	} else if (!text_number(value, strlen(value), UINT64_MAX, &options->uidvalidity) ||
		   !options->uidvalidity) {
		return "--uidvalidity is a number above 0";
	}
	return NULL;
}

static bool set_flag(struct options *options, const char *option)
{
	if (!strcmp(option, "--dry-run"))
		options->is_dry = true;
	else if (!strcmp(option, "--verbose") || !strcmp(option, "-v"))
		options->is_verbose = true;
	else if (!strcmp(option, "--password-stdin"))
		options->is_stdin = true;
	else if (!strcmp(option, "--insecure"))
		options->is_insecure = true;
	else
		return false;
	return true;
}

static bool takes_value(const char *option)
{
	static const char *const options[] = {"--from",     "--fetchids",   "--getmail",
					      "--popstate", "--account",    "--ca",
					      "--format",   "--uidvalidity"};

	for (size_t i = 0; i < sizeof options / sizeof *options; i++)
		if (!strcmp(option, options[i]))
			return true;
	return false;
}

static const char *parse(struct options *options, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *wrong = NULL;
		if (set_flag(options, argv[i]))
			continue;
		if (takes_value(argv[i]) && i + 1 == argc)
			return "an option without its value";
		if (takes_value(argv[i])) {
			wrong = set_option(options, argv[i], argv[i + 1]);
			i++;
		} else if (*argv[i] == '-') {
			wrong = "no such option";
		} else if (options->name) {
			wrong = "one NAME only";
		} else {
			options->name = argv[i];
		}
		if (wrong)
			return wrong;
	}
	if (!options->name)
		return "NAME is missing";
	if (!options->from == !options->file)
		return options->from ? "one source only" : "a source is missing";
	if (options->from && (options->account || options->has_format || options->uidvalidity))
		return "--account, --format and --uidvalidity belong to a client's file";
	if (options->from && options->url.tls == UPSTREAM_CLEAR && !options->url.is_loopback &&
	    !options->is_insecure)
		return "a password would go over the network in clear: pop3s://, "
		       "pop3+starttls:// or --insecure";
	return NULL;
}

/* --- what is needed ----------------------------------------------------------------------- */

/* Always false. What a server said is among the reasons: only printable octets of it are. */
static bool fail(const char *what, const char *why)
{
	char text[sizeof((struct notice *)0)->text];

	text_printable(text, sizeof text, why ? why : "", why ? strlen(why) : 0, true);
	fprintf(stderr, "popgate: import-uidl: %s%s%s\n", what, *text ? ": " : "", text);
	return false;
}

static bool find_target(struct import *import)
{
	struct faults faults = {0};
	struct notice why = {""};
	const char *file = import->options.name;

	import->name = map_canonical_dup(import->options.name);
	if (!import->name)
		return fail("a name is 1 to 255 octets without control characters", NULL);
	import->map = map_load(import->config->map, config_has_client_ca(import->config), &faults);
	faults_print(&faults, stderr);
	faults_fini(&faults);
	if (!import->map)
		return false;
	const struct map_entry *entry = map_find(import->map, import->name);
	if (!entry)
		return fail(file, "no such name in the map");
	if (map_target(import->map, entry, import->name, &why, &import->target).kind)
		return fail(file, why.text);
	if (import->target.reject || import->target.upstream.ops != &imap_ops)
		return fail(file, "not an IMAP mailbox: UIDLs of local mail are the files' names");
	if (!import->config->state)
		return fail("no state directory", "set state= in the configuration");
	return true;
}

static bool read_notes(struct import *import)
{
	struct stat status;
	const char *why;

	if (!import->options.file)
		return true;
	import->notes =
		file_read_dup(import->options.file, FILE_MAX, &status, &import->notes_len, &why);
	if (!import->notes)
		return fail(import->options.file, why);
	struct notice wrong = {""};
	return import_read_file(import->options.kind, import->notes, import->notes_len,
				import->options.account, &import->list, &wrong) ||
	       fail(import->options.file, wrong.text);
}

static bool read_password(const struct import *import, const char *prompt, struct ask *out)
{
	bool is_read = import->options.is_stdin ? ask_line(out) : ask_hidden(prompt, out);

	return is_read || fail(import->options.is_stdin ? "a password is missing on standard input"
							: "no password from a terminal",
			       import->options.is_stdin ? NULL : "use --password-stdin");
}

/* First the old server's, then the new one's: the order of lines on standard input. */
static bool read_passwords(struct import *import)
{
	struct ask ask = {""};

	if (import->options.from &&
	    !read_password(import, "Password of the old server: ", &import->password))
		return false;
	import->login.user = text_dup(import->target.login);
	if (import->target.oauth)
		return token_place_open(&import->place, import->config, "import-uidl");
	if (!import->target.is_passed_through) {
		struct err err =
			secret_read(&import->target, &import->why, &import->login.password);
		import->login.is_stored = true;
		return !err.kind || fail(err.what, import->why.text);
	}
	bool is_read = read_password(import, "Password of the mailbox: ", &ask);
	import->login.password = is_read ? text_dup(ask.text) : NULL;
	mem_wipe(&ask, sizeof ask);
	return is_read;
}

static bool prepare(struct import *import, const char *config_file)
{
	struct faults faults = {0};
	const struct log log = {.target = &log_to_stderr};

	import->config = config_load(config_file, &faults);
	faults_print(&faults, stderr);
	faults_fini(&faults);
	if (!import->config || !find_target(import) || !read_notes(import) ||
	    (import->target.oauth &&
	     !token_place_begin(&import->place, import->config, "import-uidl")))
		return false;
	struct err err =
		privilege_drop(&log, import->config->user, import->config->state, &import->why);
	if (err.kind)
		return fail(err.what, import->why.text);
	if (!read_passwords(import))
		return false;
	import->state = import->place.state; /* one process opens it once */
	if (!import->state)
		err = state_lmdb_open(import->config->state, &log, &import->why, &import->state);
	return !err.kind || fail(err.what, import->why.text);
}

/* --- the work ----------------------------------------------------------------------------- */

/* The forms that a client's notes are tried with, the most common first. "cyrus:uidonly" is not
 * among them: a bare number fits any mailbox. */
static const char *const forms[] = {"dovecot",       "cyrus",   "dovecot:%u.%v",
				    "cyrus:courier", "courier", "uw"};
enum { FORMS = sizeof forms / sizeof *forms };

static bool form_at(const struct import *import, size_t i, struct uidl_format *out,
		    const char **name)
{
	if (import->options.has_format) {
		*out = import->options.format;
		*name = import->options.format.pattern;
		return i == 0;
	}
	*name = i < FORMS ? forms[i] : NULL;
	return *name && !uidl_format_parse(*name, out);
}

/* A client's notes: each form takes what it explains, the one that explains most first. */
static void explain(struct import *import)
{
	struct import_new *new = &import->new;
	uint64_t uidvalidity =
		import->options.uidvalidity ? import->options.uidvalidity : new->uidvalidity;
	size_t best;

	import_sieve(&import->list, new->rows, new->count);
	do {
		struct uidl_format format, chosen = {0};
		const char *name, *chosen_name = "";
		best = 0;
		for (size_t i = 0; form_at(import, i, &format, &name); i++) {
			size_t found = import_explain(&import->list, new->rows, new->count, &format,
						      uidvalidity, true);
			if (found > best) {
				best = found;
				chosen = format;
				chosen_name = name;
			}
		}
		if (best) {
			import_explain(&import->list, new->rows, new->count, &chosen, uidvalidity,
				       false);
			printf("form: %s with UIDVALIDITY %llu: %zu\n", chosen_name,
			       (unsigned long long)uidvalidity, best);
		}
	} while (best);
}

static struct err work(struct import *import)
{
	struct import_new *new = &import->new;
	const struct import_source source = {import->options.url, import->password.text,
					     import->options.ca_file};

	if (import->target.oauth)
		TRY(token_place_login(&import->place, import->config, new->env, &import->target,
				      &import->login, &import->why));
	TRY(import_open(new, &import->why));
	if (import->options.from) {
		TRY(import_pop3(new->env, &source, new->rows, new->count, &import->list,
				&import->why));
		TRY(import_headers(new));
		import_match(&import->list, new->rows, new->count);
	} else {
		explain(import);
	}
	import_close(new); /* first, for it may write the ledger too */
	if (!import->options.is_dry)
		TRY(import_write(new, &import->list, &import->left_out));
	return OK;
}

static void run(void *arg)
{
	struct import *import = arg;

	import->err = work(import);
	import_close(&import->new);
	import->is_run = true;
}

/* --- the report --------------------------------------------------------------------------- */

static const char *const fates[IMPORT_FATES] = {
	[IMPORT_NOT_FOUND] = "not found", [IMPORT_MATCHED] = "matched",
	[IMPORT_AMBIGUOUS] = "ambiguous", [IMPORT_ALREADY] = "already so",
	[IMPORT_UNFIT] = "unfit",
};

/* What could be done about UIDLs that nothing explains. */
static void hint(const struct import *import)
{
	static const char bare[] = "cyrus:uidonly";
	const char *best_form = NULL;
	uint64_t best_validity = 0;
	size_t best = 0;

	for (size_t i = 0; i <= FORMS; i++) {
		struct uidl_format format;
		size_t count;
		const char *form = i < FORMS ? forms[i] : bare;
		if (uidl_format_parse(form, &format))
			continue;
		uint64_t validity = import_guess(&import->list, &format, &count);
		if (count > best) {
			best = count;
			best_form = form;
			best_validity = validity;
		}
	}
	if (!best)
		return;
	printf("hint: %zu of those not found are of the form %s", best, best_form);
	if (best_validity)
		printf(" with UIDVALIDITY %llu; the mailbox has %llu",
		       (unsigned long long)best_validity,
		       (unsigned long long)import->new.uidvalidity);
	printf(".\nhint: if messages kept their UIDs when the mailbox moved, add --format %s",
	       best_form);
	if (best_validity)
		printf(" --uidvalidity %llu", (unsigned long long)best_validity);
	putchar('\n');
}

static void report(const struct import *import)
{
	size_t counts[IMPORT_FATES] = {0};

	for (size_t i = 0; i < import->list.count; i++) {
		const struct import_old *old = &import->list.all[i];
		char uidl[UIDL_MAX * 2];
		counts[old->fate]++;
		text_printable(uidl, sizeof uidl, old->uidl, strlen(old->uidl), true);
		if (import->options.is_verbose && old->uid)
			printf("%s: %s is UID %u\n", fates[old->fate], uidl, old->uid);
		else if (import->options.is_verbose)
			printf("%s: %s\n", fates[old->fate], uidl);
	}
	printf("read: %zu\n", import->list.count);
	printf("messages: %zu\n", import->new.count);
	for (int i = 0; i < IMPORT_FATES; i++)
		printf("%s: %zu\n", fates[i], counts[i]);
	if (import->options.is_dry)
		printf("would write: %zu\n", counts[IMPORT_MATCHED]);
	else
		printf("written: %zu\ntaken or gone: %zu\n",
		       counts[IMPORT_MATCHED] - import->left_out, import->left_out);
	if (!import->options.from && counts[IMPORT_NOT_FOUND])
		hint(import);
}

/* --- the command -------------------------------------------------------------------------- */

static int run_all(struct import *import)
{
	signal(SIGPIPE, SIG_IGN);
	import->target.upstream.name = import->name;
	import->target.upstream.state = import->state;
	worker_init(&import->worker, map_hold(import->map), &log_to_stderr);
	import->new = (struct import_new){.env = &import->worker.world.env,
					  .log = &import->worker.log,
					  .conf = &import->target.upstream,
					  .login = &import->login};
	import->err = fiber_spawn(&import->worker.fibers, run, import);
	if (!import->err.kind) {
		worker_run(&import->worker);
		if (!import->is_run)
			import->err = ERR(ERR_UPSTREAM, 0, "nothing was done");
	}
	worker_fini(&import->worker);
	if (import->err.kind)
		fail(import->err.what, import->why.text);
	else
		report(import);
	import_new_fini(&import->new);
	return import->err.kind ? FAILED : DONE;
}

static void import_free(struct import *import)
{
	if (import->state && !import->place.state)
		import->state->ops->close(import->state);
	import_fini(&import->list);
	login_fini(&import->login);
	token_place_close(&import->place);
	map_target_fini(&import->target);
	map_release(import->map);
	config_free(import->config);
	free(import->name);
	free(import->notes);
	mem_wipe(import, sizeof *import);
	free(import);
}

int command_import_uidl(const char *config_file, int argc, char **argv)
{
	struct import *import = mem_alloc(sizeof *import);
	const char *wrong = parse(&import->options, argc, argv);
	int status = FAILED;

	if (wrong)
		status = usage(wrong);
	else if (prepare(import, config_file))
		status = run_all(import);
	import_free(import);
	return status;
}
