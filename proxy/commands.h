/* SPDX-License-Identifier: MIT */
/* commands.h - the subcommands that answer and exit. Each returns the exit status: 0 done, 1
 * refused or failed, 2 usage. argv[0] is the name of the subcommand. */
#ifndef POPGATE_COMMANDS_H
#define POPGATE_COMMANDS_H

/* `popgate check`: reads configuration and map as serve would, prints every error, touches no
 * network. As root also tests that the configured user can read map, keys and secrets. In
 * check.c. */
int command_check(const char *config_file, int argc, char **argv);
/* `popgate query NAME`: effective attributes, each with FILE:LINE; secrets masked. */
int command_query(const char *config_file, int argc, char **argv);
/* `popgate passwd [--scram]`: reads a password (twice without echo from a terminal, one line
 * otherwise), prints the value. */
int command_passwd(const char *config_file, int argc, char **argv);

#endif
