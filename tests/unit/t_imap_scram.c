/* SPDX-License-Identifier: MIT */
/* t_imap_scram.c - the conversation of RFC 5802 section 5, octet by octet, with us as its client.
 *
 * GNU SASL chooses the client's nonce: 18 octets by chance, in base64. It has them from getrandom(),
 * and a getrandom() of the program comes before libc's: so they are the 18 octets that the RFC's nonce
 * is the base64 of. A GNU SASL that has its octets from elsewhere does not ask ours, and the test says
 * that it was skipped.
 *
 * The nonce of RFC 7677 section 3 stands for 15 octets, which GNU SASL cannot be made to choose; that
 * RFC's keys and proof are computed in t_exchange.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "tests/unit/login_rig.h"

enum { NONCE = 18 };

/* "fyko+d2lbbFgONRv9qkxdawL" */
static const unsigned char nonce[NONCE] = "\x7f\x29\x28\xf9\xdd\xa5\x6d\xb1\x60"
					  "\x38\xd4\x6f\xf6\xa9\x31\x75\xac\x0b";
static bool is_armed, is_asked; /* getrandom() has no place for an argument */

ssize_t getrandom(void *into, size_t len, unsigned flags)
{
	if (!is_armed || len != NONCE)
		return syscall(SYS_getrandom, into, len, flags);
	is_asked = true;
	memcpy(into, nonce, NONCE);
	return NONCE;
}

/* The messages of the RFC in base64, as they go through IMAP. */
#define CLIENT_FIRST "biwsbj11c2VyLHI9ZnlrbytkMmxiYkZnT05Sdjlxa3hkYXdM"
#define SERVER_FIRST                                                                               \
	"cj1meWtvK2QybGJiRmdPTlJ2OXFreGRhd0wzcmZjTkhZSlkxWlZ2V1ZzN2oscz1RU1hDUitRNnNlazhiZjkyLGk9" \
	"NDA5Ng=="
#define CLIENT_FINAL                                                                               \
	"Yz1iaXdzLHI9ZnlrbytkMmxiYkZnT05Sdjlxa3hkYXdMM3JmY05IWUpZMVpWdldWczdqLHA9djBYOHYzQnoyVDBD" \
	"SkdiSlF5RjBYK0hJNFRzPQ=="
#define SERVER_FINAL "dj1ybUY5cHFWOFM3c3VBb1pXamE0ZEpSa0ZzS1E9"
#define OTHER_FINAL "dj1hbUY5cHFWOFM3c3VBb1pXamE0ZEpSa0ZzS1E9" /* "v=amF9..." for "v=rmF9..." */

#define GREETING(capabilities) "S: * OK [CAPABILITY IMAP4rev1 " capabilities "] hi\n"
#define BEGIN "C: AUTHENTICATE SCRAM-SHA-1 " CLIENT_FIRST "\n"
#define MIDDLE "S: + " SERVER_FIRST "\nC+ " CLIENT_FINAL "\n"

static void test_rfc_5802(void **state)
{
	static const struct {
		const char *what, *script;
		enum err_kind want;
	} cases[] = {
		{"the RFC's",
		 GREETING("SASL-IR AUTH=SCRAM-SHA-1") BEGIN MIDDLE "S: + " SERVER_FINAL
								   "\nC+ \nS: $ OK in\n"
								   "C: CAPABILITY\n"
								   "S: * CAPABILITY IMAP4rev1\n"
								   "S: $ OK\n",
		 ERR_NONE},
		{"its first message in a line of its own",
		 GREETING("AUTH=SCRAM-SHA-1") "C: AUTHENTICATE SCRAM-SHA-1\nS: + \nC+ " CLIENT_FIRST
					      "\n" MIDDLE "S: + " SERVER_FINAL
					      "\nC+ \nS: $ OK [CAPABILITY IMAP4rev1] in\n",
		 ERR_NONE},
		{"another signature",
		 GREETING("SASL-IR AUTH=SCRAM-SHA-1") BEGIN MIDDLE "S: + " OTHER_FINAL
								   "\nC+ *\nS: $ BAD cancelled\n",
		 ERR_POLICY},
		{"another signature from a server that lets in all the same",
		 GREETING("SASL-IR AUTH=SCRAM-SHA-1") BEGIN MIDDLE "S: + " OTHER_FINAL
								   "\nC+ *\nS: $ OK in\n",
		 ERR_POLICY},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct bed bed;
		bed_init(&bed, cases[i].script, true);
		bed.conf.auth = "scram-sha-1";
		text_wipe_free(bed.login.user);
		text_wipe_free(bed.login.password);
		bed.login.user = text_dup("user");
		bed.login.password = text_dup("pencil");
		is_asked = false;
		is_armed = true;
		struct err err = bed_open(&bed);
		is_armed = false;
		bool is_ours = is_asked;
		if (is_ours && (err.kind != cases[i].want || *bed.script.failure))
			fail_msg("%s: %d %s; %s", cases[i].what, err.kind, err.what ? err.what : "",
				 bed.script.failure);
		if (!is_ours)
			*bed.script.failure = '\0';
		bed_fini(&bed);
		if (!is_ours) {
			print_message("GNU SASL does not ask getrandom() for its nonce\n");
			skip();
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc_5802),
	};

	return cmocka_run_group_tests_name("imap_scram", tests, NULL, NULL);
}
