/* SPDX-License-Identifier: MIT */
/* state_rig.c - state directories for tests. */
#include "tests/unit/state_rig.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/base/mem.h"

void rig_init(struct rig *rig)
{
	*rig = (struct rig){.path = "/tmp/popgate-state-XXXXXX"};
	fake_world_init(&rig->world);
	if (!mkdtemp(rig->path))
		abort();
}

void rig_close(struct rig *rig)
{
	if (rig->store)
		rig->store->ops->close(rig->store);
	rig->store = NULL;
}

void rig_fini(struct rig *rig)
{
	DIR *directory;
	struct dirent *entry;

	rig_close(rig);
	directory = opendir(rig->path);
	while (directory && (entry = readdir(directory)))
		if (*entry->d_name != '.')
			unlink(rig_file(rig, entry->d_name));
	if (directory)
		closedir(directory);
	rmdir(rig->path);
}

const char *rig_file(const struct rig *rig, const char *name)
{
	static char paths[2][512];
	static unsigned next;
	char *path = paths[next++ % 2];

	snprintf(path, sizeof paths[0], "%s/%s", rig->path, name);
	return path;
}

bool rig_open(struct rig *rig)
{
	rig->why = (struct notice){""};
	rig->err = state_lmdb_open(rig->path, NULL, &rig->why, &rig->store);
	return !rig->err.kind;
}

struct err rig_put(struct rig *rig, const char *key, const void *value, size_t len)
{
	struct state_change change = {key, value, len, STATE_ANY};
	bool is_stale;

	return rig->store->ops->put(rig->store, &rig->world.env, &change, 1, &is_stale);
}

struct err rig_put_text(struct rig *rig, const char *key, const char *value)
{
	return rig_put(rig, key, value, strlen(value));
}

struct err rig_erase(struct rig *rig, const char *key)
{
	return rig_put(rig, key, NULL, 0);
}

struct err rig_get(struct rig *rig, const char *key, char *out, size_t size, uint64_t *version)
{
	struct buf buf;

	buf_init(&buf, STATE_VALUE);
	struct err err = rig->store->ops->get(rig->store, &rig->world.env, key, &buf, version);
	snprintf(out, size, "%.*s", (int)buf_len(&buf), buf_len(&buf) ? buf_data(&buf) : "");
	buf_fini(&buf);
	return err;
}

static void must(struct err err)
{
	if (err.kind)
		abort();
}

void rig_fill(struct rig *rig, unsigned transactions)
{
	enum { CHANGES = 12, LONGEST = 20000 };
	static char value[LONGEST];
	static char keys[CHANGES][64];
	bool is_stale;

	for (unsigned round = 0; round < transactions; round++) {
		struct state_change changes[CHANGES];
		for (unsigned i = 0; i < CHANGES; i++) {
			unsigned n = (round * 37 + i * 11) % 200;
			size_t len = n % 17 == 0 ? LONGEST : (n * 29) % 700;
			memset(value, 'a' + (int)n % 26, sizeof value);
			snprintf(keys[i], sizeof keys[i], "ledger\tuser%03u@example.org\t%08x", n,
				 n);
			changes[i] = (struct state_change){
				keys[i], n % 5 == 4 && round % 2 ? NULL : value, len, STATE_ANY};
		}
		must(rig->store->ops->put(rig->store, &rig->world.env, changes, CHANGES,
					  &is_stale));
	}
}

struct summing {
	uint64_t sum;
	size_t count;
};

static bool visit_sum(void *arg, const char *key, const void *value, size_t len, uint64_t version)
{
	struct summing *summing = arg;
	const unsigned char *octets = value;

	for (; *key; key++)
		summing->sum = (summing->sum ^ (unsigned char)*key) * 1099511628211u;
	for (size_t i = 0; i < len; i++)
		summing->sum = (summing->sum ^ octets[i]) * 1099511628211u;
	summing->sum = (summing->sum ^ version) * 1099511628211u;
	summing->count++;
	return true;
}

struct err rig_sum(struct rig *rig, uint64_t *sum, size_t *count)
{
	struct summing summing = {14695981039346656037u, 0};
	const struct state_range all = {"", visit_sum, &summing};
	struct err err = rig->store->ops->walk(rig->store, &rig->world.env, &all, 1);

	*sum = summing.sum;
	*count = summing.count;
	return err;
}

int rig_child(int (*test)(void *arg), void *arg)
{
	int status = -1;

	fflush(NULL);
	pid_t child = fork();
	if (child == 0)
		_exit(test(arg));
	if (child < 0 || waitpid(child, &status, 0) != child)
		abort();
	return status;
}
