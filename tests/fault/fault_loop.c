/* SPDX-License-Identifier: MIT */
/* fault_loop.c - every golden conversation, with everything failing once.
 *
 * Each transcript is run again and again: the store's call 1, 2, 3 ... fails, before or after it
 * has done its work; its put 1, 2, 3 ... into the sink; the client's stream after octet 1, 2, 3
 * ... of what it says, by a cut and by a FIN; its write 1, 2, 3 ...; its TLS handshake - until one
 * run is untouched.
 * What comes out cannot be known beforehand, but the laws of referee.h hold in every run, all is
 * given back (stage_check), and under AddressSanitizer nothing leaks. Prints TAP, a line a
 * transcript.
 */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/transcript/referee.h"
#include "tests/transcript/stage.h"

enum {
	TRIES = 100000, /* of one kind: more means that a loop does not end */
	OCTETS = 400,   /* of input after each of which the stream is cut; then every 997th */
};

/* One thing that goes wrong: what `apply` does with n, the kind, and whether it was reached. */
struct trouble {
	const char *name;
	void (*apply)(struct stage *, size_t n);
	bool (*is_touched)(const struct stage *, size_t n);
	bool is_of_stream; /* then the output may stop anywhere */
	bool is_of_kinds;
};

static void fail_call(struct stage *stage, size_t n)
{
	stage->fault.fail_call = n;
}

static void fail_call_late(struct stage *stage, size_t n)
{
	stage->fault.fail_call = n;
	stage->fault.is_late = true;
}

static bool has_called(const struct stage *stage, size_t n)
{
	return stage->fault.calls >= n;
}

static void fail_put(struct stage *stage, size_t n)
{
	stage->store.chunk = stage->store.chunk ? 7 : 4096;
	stage->fault.fail_call = 0;
	stage->fault.fail_put = n;
}

static bool has_put(const struct stage *stage, size_t n)
{
	return stage->fault.puts >= n;
}

static void fail_octet(struct stage *stage, size_t n)
{
	stage->fault.fail_call = 0;
	stage->fault.fail_octet = n * n; /* 1, 4, 9 ... 300,000 after 550 runs */
}

static bool has_failed(const struct stage *stage, size_t n)
{
	(void)n;
	return stage->fault.failed;
}

static void fail_write(struct stage *stage, size_t n)
{
	stage->client.fail_write = n;
}

static bool has_written(const struct stage *stage, size_t n)
{
	return stage->client.writes >= n;
}

/* Octet by octet at first, then in strides: a line of 70,000 octets is not that interesting. */
static size_t place(size_t n)
{
	return n <= OCTETS ? n - 1 : OCTETS + (n - OCTETS) * 997;
}

static void cut_input(struct stage *stage, size_t n)
{
	stage->client.cut = place(n);
}

static void end_input(struct stage *stage, size_t n)
{
	if (place(n) < stage->client.input_len)
		stage->client.input_len = place(n);
}

static bool has_read(const struct stage *stage, size_t n)
{
	return buf_len(&stage->script->input) > place(n);
}

static void fail_handshake(struct stage *stage, size_t n)
{
	if (n == 1)
		stage->world.secure_err = ERR(ERR_CLIENT, 0, "handshake failed");
}

static bool has_shaken(const struct stage *stage, size_t n)
{
	return stage->world.secures >= n;
}

static const struct trouble troubles[] = {
	{"handshake", fail_handshake, has_shaken, false, false},
	{"store call", fail_call, has_called, false, true},
	{"store call, late", fail_call_late, has_called, false, true},
	{"put", fail_put, has_put, false, true},
	{"octet of a fetch", fail_octet, has_failed, false, false},
	{"write", fail_write, has_written, true, false},
	{"cut", cut_input, has_read, true, false},
	{"end", end_input, has_read, false, false},
};

static const enum err_kind kinds[] = {ERR_UPSTREAM, ERR_POLICY, ERR_MESSAGE, ERR_CLIENT};
enum { KINDS = sizeof kinds / sizeof *kinds };
static const char *const kind_names[KINDS] = {"upstream", "policy", "message", "client"};

/* What the laws say of a run; NULL: all is well. */
static const char *judge(struct stage *stage, bool is_broken)
{
	const struct game game = {
		.input = stage->client.input,
		.input_len = stage->client.at,
		.output = buf_data(&stage->client.output),
		.output_len = buf_len(&stage->client.output),
		.messages = stage->messages,
		.message_count = stage->script->message_count,
		.is_broken = is_broken,
	};

	if (!stage_check(stage))
		return stage->wrong;
	return referee(&game);
}

/* One run; *touched says whether the trouble was met. True if the laws held. */
static bool try(const struct script *script, enum script_way way, const struct trouble *trouble,
		size_t kind, size_t n, bool *touched)
{
	struct stage *stage = malloc(sizeof *stage);

	if (!stage)
		abort();
	stage_init(stage, script, way);
	stage->is_free = true;
	trouble->apply(stage, n);
	if (trouble->is_of_kinds)
		stage->fault.kind = kinds[kind];
	stage_run(stage);
	*touched = trouble->is_touched(stage, n);
	/* A store has no ERR_CLIENT of its own: it is what a sink's failure comes back as. */
	bool is_broken = trouble->is_of_stream ||
			 (trouble->is_of_kinds && kinds[kind] == ERR_CLIENT) || script->is_lost;
	const char *law = judge(stage, is_broken);
	if (law)
		printf("# %s %zu%s%s, way %d: %s\n", trouble->name, n,
		       trouble->is_of_kinds ? ", " : "",
		       trouble->is_of_kinds ? kind_names[kind] : "", (int)way, law);
	stage_fini(stage);
	free(stage);
	return !law;
}

/* One trouble of one kind at every place. Counts runs; gives how many broke a law. */
static unsigned loop(const struct script *script, enum script_way way,
		     const struct trouble *trouble, size_t kind, unsigned *runs)
{
	bool touched = true;
	unsigned broken = 0;

	for (size_t n = 1; touched && n < TRIES && broken < 5; n++) {
		broken += !try(script, way, trouble, kind, n, &touched);
		++*runs;
	}
	return broken + touched * (broken < 5);
}

static unsigned run(const char *path, unsigned number)
{
	struct script *script = script_read(path);
	const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	unsigned runs = 0, broken = !script;

	for (size_t i = 0; script && i < sizeof troubles / sizeof *troubles; i++)
		for (size_t kind = 0; kind < (troubles[i].is_of_kinds ? KINDS : 1); kind++)
			for (int way = 0; way < WAYS; way++)
				if (way != WAY_OCTETS && script->ways[way])
					broken += loop(script, (enum script_way)way, &troubles[i],
						       kind, &runs);
	printf("%sok %u - %s: %u runs\n", broken ? "not " : "", number, name, runs);
	fflush(stdout);
	script_free(script);
	return broken;
}

int main(int argc, char **argv)
{
	const char *srcdir = getenv("srcdir");
	unsigned number = 0, broken = 0;
	char pattern[4096];
	glob_t found = {.gl_pathc = 0};

	snprintf(pattern, sizeof pattern, "%s/tests/transcript/*.pop3", srcdir ? srcdir : ".");
	if (argc < 2 && glob(pattern, 0, NULL, &found) == 0)
		for (size_t i = 0; i < found.gl_pathc; i++)
			broken += run(found.gl_pathv[i], ++number);
	for (int i = 1; i < argc; i++)
		broken += run(argv[i], ++number);
	globfree(&found);
	if (!number)
		printf("not ok %u - %s: no conversations\n", ++number, pattern);
	printf("1..%u\n", number);
	return broken || number < 1;
}
