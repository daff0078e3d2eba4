/* SPDX-License-Identifier: MIT */
/* probe.h - `popgate probe NAME`: what a maildrop looks like from here. See popgate(8). */
#ifndef POPGATE_PROBE_H
#define POPGATE_PROBE_H

/* Returns the exit status: 0 done, 1 refused or failed, 2 usage. */
int command_probe(const char *config_file, int argc, char **argv);

#endif
