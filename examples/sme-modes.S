/* Goes round through all four states of PSTATE.SM and PSTATE.ZA, computing in each with what it has
 * there: ZA, ZT0, Z, P, FFR, V and the general registers. What a state leaves behind goes into a sum
 * that is printed at the end; one marker for each state. Needs SVE and SME; uses ZT0 only with SME2.
 */
#include "guest.h"

	.equ	ROUNDS, 3

	.arch	armv9-a+sme+i8mm
	.text
	.globl	_start
_start:
	adrp	x0, stack_top
	add	x0, x0, :lo12:stack_top
	mov	sp, x0
	catch_exceptions
	mrs	x0, cpacr_el1
	orr	x0, x0, #3 << 16	/* SVE */
	orr	x0, x0, #3 << 20	/* FP */
	orr	x0, x0, #3 << 24	/* SME */
	msr	cpacr_el1, x0
	isb
	mov	x0, #15			/* the longest vectors there are */
	msr	zcr_el1, x0
	ldr	x0, =0x4000000f		/* EZT0 */
	msr	smcr_el1, x0
	isb
	mrs	x0, id_aa64pfr1_el1
	ubfx	x26, x0, #24, #4	/* 2 with SME2 */
	adrp	x19, buffer
	add	x19, x19, :lo12:buffer
	mov	x20, #ROUNDS
	mov	x21, #1			/* the sum */
	mov	x22, #0			/* markers */
	ldr	x23, =0x9e3779b97f4a7c15

again:
	/* Neither: Z, P, FFR and V as SVE has them. */
	add	x22, x22, #1
	marker	x22
	index	z0.b, w20, #3
	ptrue	p0.b
	setffr
	rdffr	p1.b
	not	p2.b, p0/z, p1.b
	mov	x0, #5
	whilelt	p3.b, x22, x0
	wrffr	p3.b
	mov	z1.h, #7
	mla	z1.h, p0/m, z0.h, z0.h
	add	v2.16b, v0.16b, v1.16b
	uaddv	d3, p0, z1.h
	fmov	x0, d3
	bl	mix
	rdffr	p4.b
	cntp	x0, p0, p4.b
	bl	mix
	fmov	x0, d2
	bl	mix

	/* ZA alone: it keeps what is put into it, while Z stays SVE's. */
	smstart	za
	add	x22, x22, #1
	marker	x22
	rdsvl	x24, #1
	mov	x25, #0
1:	mov	w12, w25
	mul	x0, x25, x23
	add	x1, x19, #0
	mov	x2, #256 / 8
2:	str	x0, [x1], #8
	add	x0, x0, x23
	subs	x2, x2, #1
	b.ne	2b
	ldr	za[w12, 0], [x19]
	add	x25, x25, #1
	cmp	x25, x24
	b.lo	1b
	cmp	x26, #2
	b.lo	3f
	.inst	0xe11f8000 | 19 << 5	/* ldr zt0, [x19] */
3:	uaddv	d3, p0, z1.h
	fmov	x0, d3
	bl	mix

	/* Both: a product into ZA's first tile. */
	smstart	sm
	add	x22, x22, #1
	marker	x22
	ptrue	p0.b
	ptrue	p1.b
	index	z4.b, w20, #1
	index	z5.b, #-3, #5
	smopa	za0.s, p0/m, p1/m, z4.b, z5.b
	mov	w12, #0
	mov	z6.s, #0
	mov	z6.s, p0/m, za0h.s[w12, 0]
	uaddv	d3, p0, z6.s
	fmov	x0, d3
	bl	mix

	/* Streaming mode alone: ZA is gone, Z stays. */
	smstop	za
	add	x22, x22, #1
	marker	x22
	add	z6.s, z6.s, z4.s
	uaddv	d3, p0, z6.s
	fmov	x0, d3
	bl	mix
	cntb	x0
	bl	mix

	/* And ZA across the other way of leaving: switched on in streaming mode, read outside. */
	smstart	za
	mov	w12, #1
	str	za[w12, 0], [x19]
	smstop	sm
	ldr	x0, [x19]
	bl	mix
	mov	w12, #2
	str	za[w12, 0], [x19]
	ldr	x0, [x19, #8]
	bl	mix
	smstop	za
	subs	x20, x20, #1
	b.ne	again

	adr	x0, title
	bl	print
	mov	x0, x21
	bl	print_number
	b	power_off

	/* Add x0 to the sum, keeping the order. */
mix:	eor	x21, x21, x0
	mul	x21, x21, x23
	eor	x21, x21, x21, lsr #29
	ret

title:	.asciz	"Four states, three rounds: "
	.balign	4

	routines

	.bss
	.balign	256
buffer:
	.space	256
	.balign	16
	.space	1024
stack_top:
