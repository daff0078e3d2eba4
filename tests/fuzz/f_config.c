/* SPDX-License-Identifier: MIT */
/* f_config.c - any octets as popgate.conf: either errors are told, or the result is sound. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct faults faults = {0};
	struct config *config = config_parse("fuzz", (const char *)data, size, &faults);

	assert(!config == (faults.count > 0));
	if (config) {
		assert(config->map && config->listener_count && config->trusted.count);
		assert(config->idle_ms >= 600000 && config->stall_ms >= 60000 && config->failures);
		for (size_t i = 0; i < config->listener_count; i++) {
			const struct listener_conf *listener = &config->listeners[i];
			assert(listener->address_count && listener->line > 0);
			assert(listener->tls_min >= 10 && listener->tls_min <= 13);
			assert(listener->tls == LISTENER_NONE || listener->cert.count ||
			       config->cert.count);
			assert((listener->cleartext == CLEARTEXT_NETWORKS) ==
			       (listener->networks.count > 0));
		}
	}
	config_free(config);
	faults_fini(&faults);
	return 0;
}
