/* SPDX-License-Identifier: MIT */
/* serve.h - `popgate serve` and `popgate URL`: from files, or from nothing, to a running server. */
#ifndef POPGATE_SERVE_H
#define POPGATE_SERVE_H

/* The daemon, in the foreground, until SIGTERM or SIGINT. Returns the exit status. */
int command_serve(const char *config_file, int argc, char **argv);

/* One upstream in pass-through on 127.0.0.1:1110, without any file. Returns the exit status. */
int command_url(const char *url);

#endif
