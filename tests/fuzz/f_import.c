/* SPDX-License-Identifier: MIT */
/* f_import.c - any octets as what a mail client has noted of a POP3 server (popgate import-uidl).
 *
 * The input's first octet says of which client, and whether an account is asked for; the rest is the
 * file. What must hold: UIDLs that are pieces of the file, or a reason and nothing else. A file that has
 * one account only is read alike by its name and without.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(enum import_file kind, const char *text, size_t len, const char *account)
{
	struct import_list list;
	struct notice why = {""};

	bool is_good = import_read_file(kind, text, len, account, &list, &why);
	assert(memchr(why.text, '\0', sizeof why.text));
	assert(is_good ? !*why.text : *why.text && !list.count && !list.all);
	for (size_t i = 0; i < list.count; i++) {
		const char *uidl = list.all[i].uidl;
		assert(*uidl && !strpbrk(uidl, "\n"));
		assert(kind == IMPORT_GETMAIL || !strpbrk(uidl, " \t"));
		assert(memmem(text, len, uidl, strlen(uidl)));
	}
	import_fini(&list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const accounts[] = {NULL, "joe@pop.example.org", "ann@example.net", ""};

	if (!size)
		return 0;
	enum import_file kind = (enum import_file)(*data % (IMPORT_POPSTATE + 1));
	const char *account = accounts[*data / 16 % (sizeof accounts / sizeof *accounts)];
	/* Its own allocation, with nothing behind it. */
	char *text = malloc(size);
	assert(text);
	memcpy(text, data + 1, size - 1);
	char *exact = realloc(text, size > 1 ? size - 1 : 1);
	check(kind, exact, size - 1, account);
	free(exact);
	return 0;
}
