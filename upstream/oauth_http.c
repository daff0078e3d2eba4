/* SPDX-License-Identifier: MIT */
/* oauth_http.c - one POST over HTTPS, by libcurl.
 *
 * A handle lives for one request: tokens are asked for once an hour and account, and a connection
 * that stays open for that long is closed by every provider. Nothing of the environment counts: what
 * a proxy or a netrc of some user would do to a client secret is not in popgate.conf.
 */
#include "upstream/oauth.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>
#include <jansson.h>

#include "proxy/base/mem.h"

/* --- memory that is overwritten when it is given back -------------------------------------- */

static void wipe_free(void *octets)
{
	if (octets)
		mem_wipe(octets, malloc_usable_size(octets));
	free(octets);
}

static void *wipe_realloc(void *old, size_t size)
{
	if (!old)
		return malloc(size);
	size_t had = malloc_usable_size(old);
	void *new = malloc(size ? size : 1);
	if (!new)
		return NULL;
	memcpy(new, old, had < size ? had : size);
	wipe_free(old);
	return new;
}

static char *plain_strdup(const char *text)
{
	return strdup(text);
}

bool oauth_begin(void)
{
	json_set_alloc_funcs(malloc, wipe_free);
	return curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, wipe_free, wipe_realloc,
				    plain_strdup, calloc) == CURLE_OK;
}

/* --- a request ---------------------------------------------------------------------------- */

static size_t take(char *octets, size_t one, size_t count, void *arg)
{
	struct buf *answer = arg;

	return buf_put(answer, octets, one * count) ? one * count : 0;
}

/* A file is instead of the system's authorities: most builds have a directory of these besides. */
static bool set_authorities(CURL *curl, const char *ca_file)
{
	if (!ca_file)
		return true;
	CURLcode code = curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
	return (code == CURLE_OK || code == CURLE_NOT_BUILT_IN) &&
	       curl_easy_setopt(curl, CURLOPT_CAINFO, ca_file) == CURLE_OK;
}

static bool set_up(CURL *curl, const struct oauth_post *post, struct curl_slist *headers,
		   struct buf *answer, char *error)
{
	int failed = 0;

	failed |= curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
	failed |= curl_easy_setopt(curl, CURLOPT_URL, post->url);
	failed |= curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
	failed |= curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	failed |= curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
	failed |= curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
	failed |= curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	failed |= curl_easy_setopt(curl, CURLOPT_PROXY, "");
	failed |= curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	failed |= curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	failed |= curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)OAUTH_CONNECT_S);
	failed |= curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)OAUTH_TOTAL_S);
	failed |= curl_easy_setopt(curl, CURLOPT_POST, 1L);
	failed |= curl_easy_setopt(curl, CURLOPT_POSTFIELDS,
				   buf_len(post->form) ? buf_data(post->form) : "");
	failed |= curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE,
				   (curl_off_t)buf_len(post->form));
	failed |= curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	failed |= curl_easy_setopt(curl, CURLOPT_USERAGENT, "popgate");
	failed |= curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
	failed |= curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
	return !failed && set_authorities(curl, post->ca_file);
}

/* What is wrong with the certificate, or with the file that it is to be judged by, will not pass. */
static struct err failure(CURLcode code)
{
	switch (code) {
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
		return ERR(ERR_POLICY, (int)code, "the token server's certificate is not good");
	case CURLE_URL_MALFORMAT:
	case CURLE_UNSUPPORTED_PROTOCOL:
		return ERR(ERR_POLICY, (int)code, "the token server's URL is not good");
	case CURLE_OPERATION_TIMEDOUT:
		return ERR(ERR_UPSTREAM, ETIMEDOUT, "the token server did not answer in time");
	case CURLE_WRITE_ERROR:
		return ERR(ERR_UPSTREAM, EMSGSIZE, "the token server's answer is too long");
	default:
		return ERR(ERR_UPSTREAM, 0, "the token server cannot be reached");
	}
}

static struct err http_post(const struct oauth_transport *transport, const struct oauth_post *post,
			    long *status, struct buf *answer, struct notice *why)
{
	char error[CURL_ERROR_SIZE] = "";
	struct err err = ERR(ERR_UPSTREAM, ENOMEM, "no memory to ask the token server");

	(void)transport;
	*status = 0;
	CURL *curl = curl_easy_init();
	struct curl_slist *headers = curl_slist_append(NULL, "Accept: application/json");
	if (!curl || !headers || !set_up(curl, post, headers, answer, error))
		goto out;
	CURLcode code = curl_easy_perform(curl);
	if (code == CURLE_OK)
		code = curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, status);
	err = code == CURLE_OK ? OK : failure(code);
	if (err.kind)
		snprintf(why->text, sizeof why->text, "%s",
			 *error ? error : curl_easy_strerror(code));
out:
	curl_slist_free_all(headers);
	if (curl)
		curl_easy_cleanup(curl);
	mem_wipe(error, sizeof error);
	return err;
}

const struct oauth_transport oauth_http = {http_post};
