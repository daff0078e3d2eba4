/* SPDX-License-Identifier: MIT */
/* config_key.c - the keys of popgate.conf. */
#include "proxy/config_key.h"

#include <string.h>

#include "proxy/base/text.h"
#include "proxy/config.h"

#define SECOND UINT64_C(1000)
#define DAY (86400 * SECOND)
#define IN_CONFIG(field_) offsetof(struct config, field_)
#define IN_LISTENER(field_) offsetof(struct listener_conf, field_)
#define IN_OAUTH(field_) offsetof(struct oauth_section, profile.field_)

const struct config_key config_keys[] = {
	{SECTION_POPGATE, "map", {VALUE_TEXT, 0, 0}, IN_CONFIG(map), 0},
	{SECTION_POPGATE, "state", {VALUE_TEXT, 0, 0}, IN_CONFIG(state), IN_CONFIG(state_line)},
	{SECTION_POPGATE, "log", {VALUE_LOG, 0, 0}, IN_CONFIG(log_syslog), 0},
	{SECTION_POPGATE, "user", {VALUE_TEXT, 0, 0}, IN_CONFIG(user), IN_CONFIG(user_line)},
	{SECTION_POPGATE, "cert", {VALUE_FILES, 0, 0}, IN_CONFIG(cert), IN_CONFIG(cert_line)},
	{SECTION_POPGATE, "key", {VALUE_FILES, 0, 0}, IN_CONFIG(key), IN_CONFIG(key_line)},
	{SECTION_POPGATE, "control", {VALUE_TEXT, 0, 0}, IN_CONFIG(control), 0},
	{SECTION_POPGATE, "trusted", {VALUE_NETWORKS, 0, 0}, IN_CONFIG(trusted), 0},
	{SECTION_POPGATE, "max_sessions", {VALUE_COUNT, 1, 1000000}, IN_CONFIG(max_sessions), 0},
	{SECTION_POPGATE, "workers", {VALUE_WORKERS, 1, WORKERS_MAX}, IN_CONFIG(workers), 0},
	{SECTION_POPGATE, "keep", {VALUE_TIME, 0, DAY}, IN_CONFIG(keep_ms), 0},
	/* Servers end a session that has been silent for 30 minutes (RFC 9051 section 5.4). */
	{SECTION_POPGATE, "fresh", {VALUE_TIME, 0, 1740 * SECOND}, IN_CONFIG(fresh_ms), 0},
	{SECTION_POPGATE,
	 "warm_proof",
	 {VALUE_TIME, 0, 3600 * SECOND},
	 IN_CONFIG(warm_proof_ms),
	 0},
	{SECTION_POPGATE, "warm", {VALUE_COUNT, 0, 1000000}, IN_CONFIG(warm), 0},
	{SECTION_POPGATE, "threads", {VALUE_COUNT, 1, 1024}, IN_CONFIG(threads), 0},
	/* RFC 1939 section 3: an autologout timer lasts at least ten minutes. */
	{SECTION_POPGATE, "idle", {VALUE_TIME, 600 * SECOND, DAY}, IN_CONFIG(idle_ms), 0},
	{SECTION_POPGATE, "stall", {VALUE_TIME, 60 * SECOND, DAY}, IN_CONFIG(stall_ms), 0},
	{SECTION_POPGATE,
	 "authorization",
	 {VALUE_TIME, 10 * SECOND, DAY},
	 IN_CONFIG(authorization_ms),
	 0},
	{SECTION_POPGATE, "failure_delay", {VALUE_TIME, 0, 15 * SECOND}, IN_CONFIG(failure_ms), 0},
	{SECTION_POPGATE, "failures", {VALUE_COUNT, 1, 100}, IN_CONFIG(failures), 0},
	{SECTION_POPGATE, "block_after", {VALUE_COUNT, 0, 100000}, IN_CONFIG(block_after), 0},
	{SECTION_POPGATE,
	 "block_window",
	 {VALUE_TIME, 60 * SECOND, DAY},
	 IN_CONFIG(block_window_ms),
	 0},
	{SECTION_POPGATE, "block", {VALUE_TIME, SECOND, 7 * DAY}, IN_CONFIG(block_ms), 0},
	{SECTION_POPGATE,
	 "refused_memory",
	 {VALUE_TIME, 0, 3600 * SECOND},
	 IN_CONFIG(refused_ms),
	 0},
	{SECTION_POPGATE,
	 "upstream_refusals",
	 {VALUE_COUNT, 0, 1000000},
	 IN_CONFIG(upstream_refusals),
	 0},
	{SECTION_POPGATE, "drain", {VALUE_TIME, 0, DAY}, IN_CONFIG(drain_ms), 0},
	{SECTION_POPGATE, "replay", {VALUE_TIME, 0, DAY}, IN_CONFIG(replay_ms), 0},
	{SECTION_POPGATE,
	 "token_key",
	 {VALUE_TEXT, 0, 0},
	 IN_CONFIG(token_key),
	 IN_CONFIG(token_key_line)},
	{SECTION_POPGATE,
	 "token_key_cred",
	 {VALUE_CREDENTIAL, 0, 0},
	 IN_CONFIG(token_key_cred),
	 IN_CONFIG(token_key_line)},
	{SECTION_LISTENER, "address", {VALUE_ADDRESSES, 0, 0}, 0, 0},
	{SECTION_LISTENER, "tls", {VALUE_TLS, 0, 0}, IN_LISTENER(tls), 0},
	{SECTION_LISTENER, "cert", {VALUE_FILES, 0, 0}, IN_LISTENER(cert), IN_LISTENER(cert_line)},
	{SECTION_LISTENER, "key", {VALUE_FILES, 0, 0}, IN_LISTENER(key), IN_LISTENER(key_line)},
	{SECTION_LISTENER, "cleartext", {VALUE_CLEARTEXT, 0, 0}, 0, 0},
	{SECTION_LISTENER, "tls_min", {VALUE_TLS_MIN, 0, 0}, IN_LISTENER(tls_min), 0},
	{SECTION_LISTENER,
	 "client_ca",
	 {VALUE_TEXT, 0, 0},
	 IN_LISTENER(client_ca),
	 IN_LISTENER(client_ca_line)},
	{SECTION_LISTENER, "auth", {VALUE_WAYS, 0, 0}, IN_LISTENER(ways), 0},
	{SECTION_OAUTH, "grant", {VALUE_GRANT, 0, 0}, IN_OAUTH(grant), 0},
	{SECTION_OAUTH, "token_url", {VALUE_TEXT, 0, 0}, IN_OAUTH(token_url), 0},
	{SECTION_OAUTH, "device_url", {VALUE_TEXT, 0, 0}, IN_OAUTH(device_url), 0},
	{SECTION_OAUTH, "authorize_url", {VALUE_TEXT, 0, 0}, IN_OAUTH(authorize_url), 0},
	{SECTION_OAUTH, "client_id", {VALUE_TEXT, 0, 0}, IN_OAUTH(client_id), 0},
	{SECTION_OAUTH, "client_secret", {VALUE_TEXT, 0, 0}, IN_OAUTH(client_secret), 0},
	{SECTION_OAUTH, "client_secret_file", {VALUE_TEXT, 0, 0}, IN_OAUTH(client_secret_file), 0},
	{SECTION_OAUTH, "scope", {VALUE_TEXT, 0, 0}, IN_OAUTH(scope), 0},
	{SECTION_OAUTH, "audience", {VALUE_TEXT, 0, 0}, IN_OAUTH(audience), 0},
	{SECTION_OAUTH, "key_file", {VALUE_TEXT, 0, 0}, IN_OAUTH(key_file), 0},
	{SECTION_OAUTH, "issuer", {VALUE_TEXT, 0, 0}, IN_OAUTH(issuer), 0},
	{SECTION_OAUTH, "ca_file", {VALUE_TEXT, 0, 0}, IN_OAUTH(ca_file), 0},
};
const size_t config_key_count = sizeof config_keys / sizeof *config_keys;
_Static_assert(sizeof config_keys / sizeof *config_keys <= CONFIG_KEYS_MAX, "room for their lines");

const struct config_key *config_key_find(enum section section, const char *name)
{
	for (size_t i = 0; i < config_key_count; i++)
		if (config_keys[i].section == section && !strcmp(config_keys[i].name, name))
			return &config_keys[i];
	return NULL;
}

const struct config_key *config_key_nearest(enum section section, const char *name)
{
	const struct config_key *nearest = NULL;
	unsigned best = 3;

	for (size_t i = 0; i < config_key_count; i++) {
		unsigned distance = text_distance(config_keys[i].name, name);
		if (config_keys[i].section == section && distance < best) {
			best = distance;
			nearest = &config_keys[i];
		}
	}
	return nearest;
}
