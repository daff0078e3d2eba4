/* SPDX-License-Identifier: MIT */
/* fiber_switch.h - from one stack to another: the only code here that no C compiler could write.
 *
 * Two ways behind one interface: some lines of assembly for x86-64 and aarch64, and ucontext where
 * FIBER_UCONTEXT is defined and on all other machines. A stack that does not run is one pointer:
 * into that stack, at what must be restored.
 */
#ifndef POPGATE_FIBER_SWITCH_H
#define POPGATE_FIBER_SWITCH_H

#include <stddef.h>

/* Octets below a saved pointer that may still be in use: red zone, or what ucontext's caller keeps
 * there. */
enum { SWITCH_MARGIN = 1024 };

/* Prepares a stack (`low`, `size` octets, both multiples of 16) so that the first switch to the
 * pointer returned calls entry(arg). `entry` must never return. */
void *switch_make(void *low, size_t size, void (*entry)(void *), void *arg);

/* Saves where we are in *from and goes on at `to`; returns when somebody switches to *from. Keeps
 * the callee's registers and the floating point control words; on ucontext the signal mask too. */
void switch_stack(void **from, void *to);

#endif
