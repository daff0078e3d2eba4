/* SPDX-License-Identifier: MIT */
/* main.c - options, and which subcommand. */
#include <stdio.h>
#include <string.h>

#include "proxy/commands.h"
#include "proxy/enrol.h"
#include "proxy/import.h"
#include "proxy/probe.h"
#include "proxy/serve.h"

#define DEFAULT_CONFIG "/etc/popgate/popgate.conf"

enum { DONE = 0, USAGE = 2 };

struct subcommand {
	const char *name;
	int (*run)(const char *config_file, int argc, char **argv);
	const char *does;
};

static const struct subcommand subcommands[] = {
	{"serve", command_serve, "the daemon, in the foreground"},
	{"check", command_check, "read configuration and map, print every error"},
	{"query", command_query, "NAME: what the map says of a POP3 name, and where"},
	{"probe", command_probe, "NAME: open that mailbox upstream and tell what is there"},
	{"enrol", command_enrol, "[--browser] NAME: let popgate into a mailbox by OAuth 2.0"},
	{"tokens", command_tokens,
	 "[--json | --forget KEY]: what became of that, mailbox by mailbox"},
	{"passwd", command_passwd, "[--scram]: make a local= value for the map"},
	{"import-uidl", command_import_uidl,
	 "NAME: bring UIDLs of an old server over, see popgate(8)"},
};
enum { SUBCOMMANDS = sizeof subcommands / sizeof *subcommands };

static int usage(FILE *to, int status)
{
	fputs("usage: popgate URL                 serve one IMAP server on 127.0.0.1:1110\n"
	      "       popgate [-c FILE] COMMAND\n\n",
	      to);
	for (size_t i = 0; i < SUBCOMMANDS; i++)
		fprintf(to, "  %-11s %s\n", subcommands[i].name, subcommands[i].does);
	fputs("\n  -c FILE  instead of " DEFAULT_CONFIG "\n  -h, --help; --version\n"
	      "\nSee popgate(8).\n",
	      to);
	return status;
}

/* Takes -c FILE out of the arguments, wherever it stands. False: -c without a file. */
static int take_config(int *argc, char **argv, const char **file)
{
	int kept = 1;

	for (int i = 1; i < *argc; i++) {
		if (strcmp(argv[i], "-c") != 0) {
			argv[kept++] = argv[i];
			continue;
		}
		if (++i == *argc)
			return 0;
		*file = argv[i];
	}
	*argc = kept;
	return 1;
}

static int is_option(int argc, char **argv, const char *one, const char *other)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], one) || !strcmp(argv[i], other))
			return 1;
	return 0;
}

int main(int argc, char **argv)
{
	const char *config_file = DEFAULT_CONFIG;

	if (!take_config(&argc, argv, &config_file))
		return usage(stderr, USAGE);
	if (is_option(argc, argv, "-h", "--help"))
		return usage(stdout, DONE);
	if (is_option(argc, argv, "--version", "--version")) {
		puts("popgate " VERSION);
		return DONE;
	}
	if (argc < 2)
		return usage(stderr, USAGE);
	for (size_t i = 0; i < SUBCOMMANDS; i++)
		if (!strcmp(argv[1], subcommands[i].name))
			return subcommands[i].run(config_file, argc - 1, argv + 1);
	if (strchr(argv[1], ':'))
		return argc == 2 ? command_url(argv[1]) : usage(stderr, USAGE);
	fprintf(stderr, "popgate: there is no command \"%s\"\n", argv[1]);
	return usage(stderr, USAGE);
}
