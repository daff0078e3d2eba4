/* SPDX-License-Identifier: MIT */
/* err.h - the error value: who must give up, and why.
 *
 * An error is returned, never stored aside. Its kind says who gives up; one function (reply_err)
 * turns kinds into POP3 replies; `what` is always a string literal, so an error costs nothing to
 * make and nothing to forget; `code` is the number of the layer below (an errno, a libetpan or
 * OpenSSL code), for the log alone.
 */
#ifndef POPGATE_ERR_H
#define POPGATE_ERR_H

enum err_kind {
	ERR_NONE = 0,
	ERR_REFUSED, /* the command: it cannot be done as it was asked           -ERR what */
	ERR_MESSAGE, /* that message: it is gone, the rest is well               -ERR no such ... */
	ERR_LOGIN, /* the client's own credential                              -ERR [AUTH] fixed  */
	ERR_IN_USE, /* the maildrop: another session holds it                   -ERR [IN-USE] what
		       */
	ERR_POLICY, /* the command, until an operator or the provider acts      -ERR [SYS/PERM]   */
	ERR_UPSTREAM, /* the command, for now: a fault that may pass              -ERR [SYS/TEMP] */
	ERR_CLIENT,   /* the client's connection is lost or done: say nothing   */
};

struct err {
	enum err_kind kind;
	int code;
	const char *what; /* a literal, in words fit for a client; NULL when kind is ERR_NONE */
};

/* Words from outside that belong to an error (a server's [ALERT], a map's reject=): raw octets, cut
 * to fit, NUL ended. They are made printable when they are said or logged. */
struct notice {
	char text[256];
};

#ifdef __GNUC__
#define MUST_USE __attribute__((warn_unused_result))
#else
#define MUST_USE
#endif

#define OK ((struct err){ERR_NONE, 0, 0})
#define ERR(kind_, code_, what_) ((struct err){(kind_), (code_), "" what_})

/* Only where the function owns nothing that must be given back; otherwise `goto out`. */
#define TRY(call_)                                                                                 \
	do {                                                                                       \
		struct err try_err_ = (call_);                                                     \
		if (try_err_.kind != ERR_NONE)                                                     \
			return try_err_;                                                           \
	} while (0)

#endif
