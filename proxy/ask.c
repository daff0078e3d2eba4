/* SPDX-License-Identifier: MIT */
/* ask.c - a password from whoever runs a subcommand. */
#include "proxy/ask.h"

#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

bool ask_line(struct ask *ask)
{
	char *line = ask->text;

	setvbuf(stdin, NULL, _IONBF, 0); /* no buffer of stdio's own may keep a copy */
	if (!fgets(line, sizeof ask->text, stdin))
		return false;
	size_t len = strlen(line);
	bool is_whole = len && (line[len - 1] == '\n' || feof(stdin));
	while (len && (line[len - 1] == '\n' || line[len - 1] == '\r'))
		line[--len] = '\0';
	return is_whole && len && len <= ASK_MAX;
}

bool ask_hidden(const char *prompt, struct ask *ask)
{
	struct termios shown, hidden;

	if (tcgetattr(STDIN_FILENO, &shown) < 0)
		return false;
	hidden = shown;
	hidden.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
	/* Signals would leave the terminal without its echo. */
	hidden.c_lflag &= ~(tcflag_t)ISIG;
	fputs(prompt, stderr);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
	bool is_good = ask_line(ask) && !strchr(ask->text, 3);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
	fputc('\n', stderr);
	return is_good;
}
