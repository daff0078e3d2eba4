/* SPDX-License-Identifier: MIT */
/* imap_server.c - the mailboxes of the model server, and what others do to them. */
#include "tests/fake/imap_server_own.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"

const char imap_server_stub[] =
	"From: server\r\nSubject: Retrieval using the IMAP4 protocol failed\r\n\r\n"
	"Retrieval using the IMAP4 protocol failed for the following message: 5\r\n";

bool server_has(const struct imap_server *server, unsigned trait)
{
	return server->family->traits & trait;
}

uint32_t imap_server_chance(struct imap_server *server, uint32_t below)
{
	server->seed = server->seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(server->seed >> 33) % below;
}

void server_crime(struct imap_server *server, const char *format, ...)
{
	va_list args;

	if (server->crimes++)
		return;
	va_start(args, format);
	vsnprintf(server->crime, sizeof server->crime, format, args);
	va_end(args);
}

void imap_server_init(struct imap_server *server, const struct imap_family *family)
{
	bool has_labels = family->traits & SERVER_LABELS;

	*server = (struct imap_server){
		.family = family,
		.cut_out = SIZE_MAX,
		.cut_in = SIZE_MAX,
		.seed = 1,
	};
	fake_world_init(&server->world);
	server->world.dial = server_dial;
	server->world.arg = server;
	buf_init(&server->trace, SERVER_MOST);
	imap_server_make(server, "INBOX", NULL);
	imap_server_make(server, has_labels ? "[Gmail]/Papierkorb" : "Trash", "\\Trash");
	imap_server_make(server, has_labels ? "[Gmail]/Alle Nachrichten" : "Archive",
			 has_labels ? "\\All" : "\\Archive");
}

void imap_server_fini(struct imap_server *server)
{
	for (size_t i = 0; i < SERVER_CONNECTIONS; i++)
		assert(!server->live[i]);
	for (size_t i = 0; i < server->folder_count; i++)
		free(server->folders[i].messages);
	for (size_t i = 0; i < server->mail_count; i++) {
		free(server->mails[i]->octets);
		free(server->mails[i]);
	}
	free(server->mails);
	free(server->removals);
	buf_fini(&server->trace);
}

struct server_folder *imap_server_folder(struct imap_server *server, const char *name)
{
	for (size_t i = 0; i < server->folder_count; i++) {
		struct server_folder *folder = &server->folders[i];
		bool is_same = i ? !strcmp(folder->name, name) : text_same(folder->name, name);
		if (is_same || (folder->use && !strcmp(folder->use, name)))
			return folder;
	}
	return NULL;
}

struct server_folder *imap_server_make(struct imap_server *server, const char *name,
				       const char *use)
{
	if (server->folder_count == SERVER_FOLDERS || strlen(name) >= 64)
		return NULL;
	struct server_folder *folder = &server->folders[server->folder_count++];
	*folder = (struct server_folder){
		.use = use,
		.uidvalidity = server->family->traits & SERVER_MODSEQ_ALWAYS
				       ? 1
				       : 1000 + server->folder_count,
		.modseq = 1,
		.uidnext = 1,
	};
	memcpy(folder->name, name, strlen(name));
	return folder;
}

struct server_mail *imap_server_mail(const struct imap_server *server, uint64_t id)
{
	return id && id <= server->mail_count ? server->mails[id - 1] : NULL;
}

/* The place of a UID, or where it would be. */
static size_t place_of(const struct server_folder *folder, uint32_t uid)
{
	size_t low = 0, high = folder->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (folder->messages[middle].uid < uid)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct server_message *server_find(const struct server_folder *folder, uint32_t uid)
{
	size_t at = place_of(folder, uid);

	return at < folder->count && folder->messages[at].uid == uid ? &folder->messages[at] : NULL;
}

size_t imap_server_copies(const struct server_folder *folder, uint64_t id)
{
	size_t copies = 0;

	for (size_t i = 0; i < folder->count; i++)
		copies += folder->messages[i].mail->id == id;
	return copies;
}

struct server_message *server_append(struct imap_server *server, struct server_folder *folder,
				     struct server_mail *mail)
{
	(void)server;
	if (folder->count == folder->room) {
		folder->room = folder->room * 2 + 16;
		folder->messages =
			mem_resize(folder->messages, folder->room, sizeof *folder->messages);
	}
	struct server_message *msg = &folder->messages[folder->count++];
	*msg = (struct server_message){
		.mail = mail, .uid = folder->uidnext++, .modseq = ++folder->modseq};
	folder->changes++;
	return msg;
}

uint64_t imap_server_deliver(struct imap_server *server, const char *name, const void *octets,
			     size_t len)
{
	struct server_folder *folder = imap_server_folder(server, name);
	struct server_mail *mail = mem_alloc(sizeof *mail);

	assert(folder);
	if (server->mail_count == server->mail_room) {
		server->mail_room = server->mail_room * 2 + 16;
		server->mails = mem_resize(server->mails, server->mail_room, sizeof *server->mails);
	}
	*mail = (struct server_mail){
		.id = server->mail_count + 1, .octets = mem_dup(octets, len), .len = len};
	server->mails[server->mail_count++] = mail;
	server_append(server, folder, mail);
	return mail->id;
}

/* Gmail: what loses its label goes where the settings say. */
static void relabel(struct imap_server *server, struct server_mail *mail)
{
	struct server_folder *all = imap_server_folder(server, "\\All");
	struct server_folder *trash = imap_server_folder(server, "\\Trash");

	if (server->labels == LABELS_ARCHIVE && !imap_server_copies(all, mail->id))
		server_append(server, all, mail);
	if (server->labels == LABELS_TRASH && !imap_server_copies(trash, mail->id))
		server_append(server, trash, mail);
}

void server_remove(struct imap_server *server, struct server_folder *folder, uint32_t uid,
		   enum server_way way, unsigned connection)
{
	size_t at = place_of(folder, uid);
	struct server_message *msg = server_find(folder, uid);

	if (!msg)
		return;
	struct server_mail *mail = msg->mail;
	/* Ours to remove is also what another has marked before. */
	bool is_theirs = (msg->flags & FLAG_THEIRS) && !(msg->flags & FLAG_OURS) &&
			 !(server->may_remove && server->may_remove(server->arg, mail->id));
	if (connection && way != WAY_MOVE && way != WAY_COPY && is_theirs)
		server_crime(server, "UID %u removed, which another had marked", uid);
	if (server->removal_count == server->removal_room) {
		server->removal_room = server->removal_room * 2 + 16;
		server->removals = mem_resize(server->removals, server->removal_room,
					      sizeof *server->removals);
	}
	server->removals[server->removal_count++] =
		(struct server_removal){mail->id, uid, connection, way, folder};
	folder->count--;
	memmove(msg, msg + 1, (folder->count - at) * sizeof *msg);
	folder->changes++;
	folder->modseq++;
	if (server_has(server, SERVER_LABELS) && way != WAY_MOVE && way != WAY_COPY)
		relabel(server, mail);
}

void imap_server_expunge(struct imap_server *server, struct server_folder *folder, uint32_t uid)
{
	server_remove(server, folder, uid, WAY_FOREIGN, 0);
}

void imap_server_flag(struct imap_server *server, struct server_folder *folder, uint32_t uid,
		      unsigned flag, bool is_on)
{
	struct server_message *msg = server_find(folder, uid);

	if (!msg)
		return;
	msg->flags = is_on ? msg->flags | flag : msg->flags & ~flag;
	if (flag & FLAG_DELETED) {
		msg->flags &= ~(unsigned)(FLAG_THEIRS | FLAG_OURS);
		msg->flags |= is_on ? FLAG_THEIRS : 0;
	}
	msg->modseq = ++folder->modseq;
	folder->changes++;
	if (is_on && (flag & FLAG_DELETED) && server->is_auto_expunge)
		server_remove(server, folder, uid, WAY_FOREIGN, 0);
}

void imap_server_renumber(struct imap_server *server, struct server_folder *folder,
			  uint64_t uidvalidity, uint32_t first)
{
	for (size_t i = 0; i < SERVER_CONNECTIONS; i++)
		if (server->live[i] && server->live[i]->folder == folder)
			server->live[i]->has_ended = true;
	for (size_t i = 0; i < folder->count; i++)
		folder->messages[i].uid = first + (uint32_t)i;
	folder->uidnext = first + (uint32_t)folder->count;
	folder->uidvalidity = uidvalidity;
	folder->modseq++;
	folder->changes++;
}
