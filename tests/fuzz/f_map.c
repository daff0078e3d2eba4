/* SPDX-License-Identifier: MIT */
/* f_map.c - any octets as a map, and any octets as names that are looked up in it.
 *
 * The input is a map; what stands behind its last NUL octet, if there is one, is the name. What must
 * hold whatever they are: errors or a map, never both; and no name leads a path out of the place
 * where the map put it.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/map.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_target(const struct map *map, const struct map_target *target)
{
	const struct upstream_conf *conf = &target->upstream;

	(void)map;
	assert(conf->ops || target->reject);
	if (conf->ops == &imap_ops) {
		assert(conf->host && *conf->host && conf->port && conf->folder && *conf->folder);
		assert(target->login && *target->login && !strpbrk(target->login, "\r\n"));
		assert(!strpbrk(conf->folder, "\r\n"));
		assert(target->is_passed_through == !target->locals.count);
	} else if (conf->ops) {
		assert(*conf->path == '/' && target->locals.count);
		assert(!strstr(conf->path, "/../"));
	}
}

static void look_up(const struct map *map, const char *claim)
{
	char *name = map_canonical_dup(claim);
	const struct map_entry *entry = name ? map_find(map, name) : NULL;
	struct map_target target;
	struct notice why = {""};

	for (int i = 0; entry && i < MAP_ATTRIBUTES; i++) {
		const char *file = NULL;
		int line = 0;
		const char *value = map_value(map, entry, (enum map_attribute)i, &file, &line);
		assert(!value || (*value && file && line > 0));
	}
	if (entry && !map_target(map, entry, name, &why, &target).kind) {
		check_target(map, &target);
		map_target_fini(&target);
	}
	free(name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = {"joe", "joe@example.org", "..@..", "@", "a/b@.", "*"};
	const uint8_t *nul = size ? memrchr(data, '\0', size) : NULL;
	size_t len = nul ? (size_t)(nul - data) : size;
	struct faults faults = {0};
	struct map *map = map_parse("fuzz", (const char *)data, len, &faults);

	assert(!map == (faults.count > 0));
	if (map) {
		char *name = nul ? mem_dup(nul + 1, size - len - 1) : NULL;
		for (size_t i = 0; i < sizeof names / sizeof *names; i++)
			look_up(map, names[i]);
		if (name)
			look_up(map, name);
		free(name);
	}
	map_release(map);
	faults_fini(&faults);
	return 0;
}
