/* SPDX-License-Identifier: MIT */
/* fiber_switch.c - saves and restores exactly what the platform's calling convention says a callee
 * must keep; all else was saved by the compiler around the call.
 *
 * x86-64 (System V ABI 3.2.1): rbx, rbp, r12-r15, the control bits of mxcsr and the x87 control
 * word. aarch64 (AAPCS64 6.1): x19-x30, the low halves of v8-v15, fpcr. A new stack gets such a
 * frame by hand, whose return address is switch_entry, which calls what two of the saved registers
 * hold. It begins with endbr64 for processors that track indirect branches. Shadow stacks are not
 * supported by the assembly: there, build with FIBER_UCONTEXT.
 */
#include "proxy/io/fiber_switch.h"

#include <stdint.h>
#include <string.h>

#if !defined(FIBER_UCONTEXT) && !defined(__x86_64__) && !defined(__aarch64__)
#define FIBER_UCONTEXT 1
#endif

#if defined(FIBER_UCONTEXT)

#include <stdlib.h>
#include <ucontext.h>

/* makecontext() takes ints: a pointer travels in two. */
static void start(unsigned entry_high, unsigned entry_low, unsigned arg_high, unsigned arg_low)
{
	uintptr_t entry = (uintptr_t)((uint64_t)entry_high << 32 | entry_low);
	uintptr_t arg = (uintptr_t)((uint64_t)arg_high << 32 | arg_low);

	((void (*)(void *))entry)((void *)arg);
	abort();
}

void *switch_make(void *low, size_t size, void (*entry)(void *), void *arg)
{
	size_t own = (sizeof(ucontext_t) + 63) & ~(size_t)63;
	ucontext_t *context = (ucontext_t *)((char *)low + size - own);
	uint64_t entry_bits = (uintptr_t)entry, arg_bits = (uintptr_t)arg;

	if (getcontext(context))
		abort();
	context->uc_stack.ss_sp = low;
	context->uc_stack.ss_size = size - own;
	context->uc_link = NULL;
	makecontext(context, (void (*)(void))start, 4, (unsigned)(entry_bits >> 32),
		    (unsigned)entry_bits, (unsigned)(arg_bits >> 32), (unsigned)arg_bits);
	return context;
}

void switch_stack(void **from, void *to)
{
	ucontext_t here;

	/* It lives on the stack that sleeps, for as long as that sleeps. */
	/* cppcheck-suppress autoVariables */
	*from = &here;
	if (swapcontext(&here, to))
		abort();
}

#elif defined(__x86_64__)

__asm__(".text\n"
	".p2align 4\n"
	".globl switch_stack\n"
	".hidden switch_stack\n"
	".type switch_stack, @function\n"
	"switch_stack:\n"
	"	.cfi_startproc\n"
	"	endbr64\n"
	"	pushq %rbp\n"
	"	pushq %rbx\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	subq $8, %rsp\n"
	"	.cfi_adjust_cfa_offset 56\n"
	"	.cfi_offset rbp, -16\n"
	"	.cfi_offset rbx, -24\n"
	"	.cfi_offset r12, -32\n"
	"	.cfi_offset r13, -40\n"
	"	.cfi_offset r14, -48\n"
	"	.cfi_offset r15, -56\n"
	"	stmxcsr (%rsp)\n"
	"	fnstcw 4(%rsp)\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	ldmxcsr (%rsp)\n"
	"	fldcw 4(%rsp)\n"
	"	addq $8, %rsp\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbx\n"
	"	popq %rbp\n"
	"	.cfi_adjust_cfa_offset -56\n"
	"	ret\n"
	"	.cfi_endproc\n"
	".size switch_stack, . - switch_stack\n"
	".p2align 4\n"
	".globl switch_entry\n"
	".hidden switch_entry\n"
	".type switch_entry, @function\n"
	"switch_entry:\n"
	"	.cfi_startproc\n"
	"	.cfi_undefined rip\n" /* where a backtrace ends */
	"	endbr64\n"
	"	movq %r13, %rdi\n"
	"	call *%r12\n"
	"	ud2\n"
	"	.cfi_endproc\n"
	".size switch_entry, . - switch_entry\n");

void switch_entry(void);

struct frame {
	uint32_t mxcsr;
	uint16_t x87, pad;
	uint64_t r15, r14, r13, r12, rbx, rbp;
	uint64_t rip;
	uint64_t top[2]; /* keeps rsp a multiple of 16 in switch_entry */
};

void *switch_make(void *low, size_t size, void (*entry)(void *), void *arg)
{
	struct frame *frame = (struct frame *)((char *)low + size - sizeof *frame);

	_Static_assert(sizeof *frame == 80, "rsp in switch_entry");
	memset(frame, 0, sizeof *frame);
	__asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(frame->mxcsr), "=m"(frame->x87));
	frame->r12 = (uintptr_t)entry;
	frame->r13 = (uintptr_t)arg;
	frame->rip = (uintptr_t)switch_entry;
	return frame;
}

#else /* aarch64 */

__asm__(".text\n"
	".p2align 4\n"
	".globl switch_stack\n"
	".hidden switch_stack\n"
	".type switch_stack, %function\n"
	"switch_stack:\n"
	"	.cfi_startproc\n"
	"	hint #34\n" /* bti c */
	"	sub sp, sp, #176\n"
	"	.cfi_adjust_cfa_offset 176\n"
	"	.cfi_rel_offset x29, 80\n"
	"	.cfi_rel_offset x30, 88\n"
	"	stp x19, x20, [sp, #0]\n"
	"	stp x21, x22, [sp, #16]\n"
	"	stp x23, x24, [sp, #32]\n"
	"	stp x25, x26, [sp, #48]\n"
	"	stp x27, x28, [sp, #64]\n"
	"	stp x29, x30, [sp, #80]\n"
	"	stp d8, d9, [sp, #96]\n"
	"	stp d10, d11, [sp, #112]\n"
	"	stp d12, d13, [sp, #128]\n"
	"	stp d14, d15, [sp, #144]\n"
	"	mrs x9, fpcr\n"
	"	str x9, [sp, #160]\n"
	"	mov x9, sp\n"
	"	str x9, [x0]\n"
	"	mov sp, x1\n"
	"	ldr x9, [sp, #160]\n"
	"	msr fpcr, x9\n"
	"	ldp x19, x20, [sp, #0]\n"
	"	ldp x21, x22, [sp, #16]\n"
	"	ldp x23, x24, [sp, #32]\n"
	"	ldp x25, x26, [sp, #48]\n"
	"	ldp x27, x28, [sp, #64]\n"
	"	ldp x29, x30, [sp, #80]\n"
	"	ldp d8, d9, [sp, #96]\n"
	"	ldp d10, d11, [sp, #112]\n"
	"	ldp d12, d13, [sp, #128]\n"
	"	ldp d14, d15, [sp, #144]\n"
	"	add sp, sp, #176\n"
	"	.cfi_adjust_cfa_offset -176\n"
	"	ret\n"
	"	.cfi_endproc\n"
	".size switch_stack, . - switch_stack\n"
	".p2align 4\n"
	".globl switch_entry\n"
	".hidden switch_entry\n"
	".type switch_entry, %function\n"
	"switch_entry:\n"
	"	.cfi_startproc\n"
	"	.cfi_undefined x30\n"
	"	mov x0, x20\n"
	"	blr x19\n"
	"	brk #1\n"
	"	.cfi_endproc\n"
	".size switch_entry, . - switch_entry\n");

void switch_entry(void);

struct frame {
	uint64_t x19, x20, x21_28[8], x29, x30;
	uint64_t d8_15[8];
	uint64_t fpcr, pad;
};

void *switch_make(void *low, size_t size, void (*entry)(void *), void *arg)
{
	struct frame *frame = (struct frame *)((char *)low + size - sizeof *frame);

	_Static_assert(sizeof *frame == 176, "what switch_stack takes");
	memset(frame, 0, sizeof *frame);
	__asm__ volatile("mrs %0, fpcr" : "=r"(frame->fpcr));
	frame->x19 = (uintptr_t)entry;
	frame->x20 = (uintptr_t)arg;
	frame->x30 = (uintptr_t)switch_entry;
	return frame;
}

#endif
