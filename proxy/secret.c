/* SPDX-License-Identifier: MIT */
/* secret.c - reads the password for the upstream.
 *
 * A command is started without a shell, in a process group of its own, so that one that hangs is
 * ended together with what it has started. Its output is a pipe that only this function reads.
 */
#include "proxy/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proxy/base/mem.h"
#include "proxy/file.h"

enum { WORDS_MAX = 64, PAUSE_MS = 10 };

#define WHY(why_, ...) snprintf((why_)->text, sizeof(why_)->text, __VA_ARGS__)

/* Takes the first line out of `len` octets. */
static struct err first_line(const char *octets, size_t len, const char *from, struct notice *why,
			     char **out)
{
	const char *lf = memchr(octets, '\n', len);
	size_t line = lf ? (size_t)(lf - octets) : len;

	while (line && octets[line - 1] == '\r')
		line--;
	if (line && line <= SECRET_MAX && !memchr(octets, '\0', line)) {
		*out = mem_dup(octets, line);
		return OK;
	}
	WHY(why, "%s: its first line is empty, holds a NUL, or is too long", from);
	return ERR(ERR_POLICY, 0, "the stored password cannot be used");
}

static struct err read_file(const char *path, struct notice *why, char **out)
{
	const char *reason = NULL;
	struct stat status;
	size_t len;
	char *text = file_read_dup(path, 2 * SECRET_MAX, &status, &len, &reason);

	if (!text) {
		WHY(why, "%s: %s", path, reason);
		return ERR(ERR_UPSTREAM, 0, "the stored password cannot be read");
	}
	struct err err;
	if (status.st_mode & (S_IROTH | S_IWOTH | S_IWGRP)) {
		WHY(why, "%s: others may read it, or group or others write it (mode %04o)", path,
		    (unsigned)status.st_mode & 07777);
		err = ERR(ERR_POLICY, 0, "the stored password cannot be used");
	} else {
		err = first_line(text, len, path, why, out);
	}
	mem_wipe(text, len);
	free(text);
	return err;
}

static struct err read_credential(const char *name, struct notice *why, char **out)
{
	const char *directory = getenv("CREDENTIALS_DIRECTORY");

	if (!directory || !*directory) {
		WHY(why, "password_cred=%s: CREDENTIALS_DIRECTORY is not set", name);
		return ERR(ERR_POLICY, 0, "the stored password cannot be read");
	}
	char *path = text_printf_dup("%s/%s", directory, name);
	struct err err = read_file(path, why, out);
	free(path);
	return err;
}

/* --- commands ----------------------------------------------------------------------------- */

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Cuts `words` at its blanks in place; false if there are too many. */
static bool split(char *words, char *argv[WORDS_MAX + 1])
{
	size_t count = 0;
	char *rest;

	for (char *word = strtok_r(words, " \t", &rest); word;
	     word = strtok_r(NULL, " \t", &rest)) {
		if (count == WORDS_MAX)
			return false;
		argv[count++] = word;
	}
	argv[count] = NULL;
	return count > 0;
}

/* Starts argv[0] with its output into `output`, its input from nowhere. 0 or an errno. */
static int start(char *const argv[], int output, pid_t *pid)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, all;

	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
	posix_spawnattr_init(&attr);
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
						POSIX_SPAWN_SETPGROUP);
	int failed = posix_spawn(pid, argv[0], &files, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	return failed;
}

/* Reads until the end, a full buffer, or the moment; false in the last case. */
static bool collect(int fd, char *into, size_t room, size_t *len, uint64_t until_ms)
{
	*len = 0;
	while (*len < room) {
		uint64_t now = now_ms();
		struct pollfd wait = {fd, POLLIN, 0};
		if (now >= until_ms)
			return false;
		if (poll(&wait, 1, (int)(until_ms - now)) <= 0)
			continue;
		ssize_t got = read(fd, into + *len, room - *len);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		*len += (size_t)got;
	}
	return true;
}

/* Waits for its end; one that does not come in time is killed with its whole group. */
static bool finish(pid_t pid, uint64_t until_ms, int *status)
{
	const struct timespec pause = {0, PAUSE_MS * 1000000L};
	pid_t ended = waitpid(pid, status, WNOHANG);

	while (ended == 0 && now_ms() < until_ms) {
		nanosleep(&pause, NULL);
		ended = waitpid(pid, status, WNOHANG);
	}
	if (ended == 0) {
		kill(-pid, SIGKILL);
		waitpid(pid, status, 0);
	}
	return ended == pid;
}

static struct err run(char *const argv[], unsigned limit_s, struct notice *why, char **out)
{
	uint64_t until_ms = now_ms() + limit_s * UINT64_C(1000);
	char octets[2 * SECRET_MAX];
	size_t len = 0;
	int ends[2], status = 0;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0) {
		WHY(why, "%s: %s", argv[0], strerror(errno));
		return ERR(ERR_UPSTREAM, errno, "the stored password cannot be read");
	}
	int failed = start(argv, ends[1], &pid);
	close(ends[1]);
	if (failed) {
		close(ends[0]);
		WHY(why, "%s: %s", argv[0], strerror(failed));
		return ERR(ERR_UPSTREAM, failed, "the stored password cannot be read");
	}
	bool in_time = collect(ends[0], octets, sizeof octets, &len, until_ms);
	close(ends[0]);
	in_time = finish(pid, in_time ? until_ms : 0, &status) && in_time;
	struct err err;
	if (!in_time) {
		WHY(why, "%s: not done after %u seconds", argv[0], limit_s);
		err = ERR(ERR_UPSTREAM, ETIMEDOUT, "the stored password cannot be read");
	} else if (!WIFEXITED(status) || WEXITSTATUS(status)) {
		WHY(why, "%s: failed with status %d", argv[0],
		    WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
		err = ERR(ERR_UPSTREAM, 0, "the stored password cannot be read");
	} else {
		err = first_line(octets, len, argv[0], why, out);
	}
	mem_wipe(octets, sizeof octets);
	return err;
}

struct err secret_command(const char *command, unsigned limit_s, struct notice *why, char **out)
{
	char *argv[WORDS_MAX + 1], *words = text_dup(command);
	struct err err = ERR(ERR_POLICY, 0, "the stored password cannot be read");

	*out = NULL;
	if (split(words, argv))
		err = run(argv, limit_s, why, out);
	else
		WHY(why, "password_cmd= has more than %d words", WORDS_MAX);
	free(words);
	return err;
}

struct err secret_read(const struct map_target *target, struct notice *why, char **out)
{
	*out = NULL;
	if (target->password_file)
		return read_file(target->password_file, why, out);
	if (target->password_cred)
		return read_credential(target->password_cred, why, out);
	if (target->password_cmd)
		return secret_command(target->password_cmd, SECRET_COMMAND_S, why, out);
	if (target->password)
		return first_line(target->password, strlen(target->password), "password=", why,
				  out);
	WHY(why, "the map entry names no secret");
	return ERR(ERR_POLICY, 0, "the stored password cannot be read");
}
