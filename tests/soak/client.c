/* SPDX-License-Identifier: MIT */
/* client.c - a POP3 client as a stream without threads. */
#include "tests/soak/client.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

enum { MOST = 64 << 20 };

static struct err lost(const struct pop_client *client)
{
	return (struct err){client->stream.kind, ECONNRESET, "connection lost"};
}

static struct err client_read(struct stream *stream, void *into, size_t max, size_t *got)
{
	struct pop_client *client = (struct pop_client *)stream;

	*got = 0;
	if (client->is_lost)
		return lost(client);
	if (!buf_len(&client->said)) {
		client->next(client->arg, &client->said, buf_data(&client->heard),
			     buf_len(&client->heard));
		buf_drop(&client->heard, buf_len(&client->heard));
	}
	size_t len = buf_len(&client->said);
	*got = len < max ? len : max;
	if (*got)
		memcpy(into, buf_data(&client->said), *got);
	buf_drop(&client->said, *got);
	return OK;
}

static struct err client_write(struct stream *stream, const void *octets, size_t len)
{
	struct pop_client *client = (struct pop_client *)stream;
	size_t some = len < client->cut ? len : client->cut;

	if (client->is_lost) {
		client->has_overheard = true;
		return lost(client);
	}
	if (some && !buf_put(&client->heard, octets, some))
		return lost(client);
	if (client->cut != SIZE_MAX)
		client->cut -= some;
	client->is_lost = some < len;
	return client->is_lost ? lost(client) : OK;
}

static void client_limit(struct stream *stream, uint64_t wait_ms, uint64_t until_ms)
{
	(void)stream;
	(void)wait_ms;
	(void)until_ms;
}

static void client_abort(struct stream *stream)
{
	((struct pop_client *)stream)->is_lost = true;
}

static void client_close(struct stream *stream)
{
	((struct pop_client *)stream)->is_closed = true;
	stream_fini(stream);
}

static const struct stream_ops client_ops = {
	client_read, client_write, client_limit, client_abort, client_close,
};

void pop_client_init(struct pop_client *client)
{
	*client = (struct pop_client){.cut = SIZE_MAX};
	stream_init(&client->stream, &client_ops, ERR_CLIENT, 65536, 16384);
	buf_init(&client->heard, MOST);
	buf_init(&client->said, MOST);
}

void pop_client_fini(struct pop_client *client)
{
	buf_fini(&client->heard);
	buf_fini(&client->said);
}
