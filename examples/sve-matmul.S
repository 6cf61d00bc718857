/* A matrix product in plain SVE: each row of C is the sum of B's rows, weighed by a row of A. Any
 * vector length will do; one marker in the middle of each part of a row.
 *
 * The same matrices as in sme-matmul.S, so both guests print the same number.
 */
#include "guest.h"

	.equ	N, 24			/* rows and columns */

	.arch	armv8.2-a+sve
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
	msr	cpacr_el1, x0
	isb
	mov	x0, #15			/* the longest vectors there are */
	msr	zcr_el1, x0
	isb

	adrp	x19, matrix_a
	add	x19, x19, :lo12:matrix_a
	adrp	x20, matrix_b
	add	x20, x20, :lo12:matrix_b
	adrp	x21, matrix_c
	add	x21, x21, :lo12:matrix_c
	mov	x0, x19
	mov	w1, #3
	mov	w2, #5
	mov	w3, #11
	mov	w4, #5
	bl	fill
	mov	x0, x20
	mov	w1, #7
	mov	w2, #2
	mov	w3, #13
	mov	w4, #6
	bl	fill

	mov	x22, #0			/* parts of rows begun */
	mov	x25, #N
	mov	x26, #4 * N * N
	add	x26, x21, x26		/* the end of C */
row:
	mov	x23, #0			/* first column of the part */
	whilelt	p0.s, x23, x25
part:
	mov	z0.s, #0
	mov	x0, x19			/* A[i][k] */
	mov	x1, x23			/* B[k][j0...] */
	mov	x24, #N
step:
	ld1rw	{z1.s}, p0/z, [x0]
	ld1w	{z2.s}, p0/z, [x20, x1, lsl #2]
	fmla	z0.s, p0/m, z1.s, z2.s
	cmp	x24, #N / 2		/* half of the sums are in Z0 */
	b.ne	1f
	add	x22, x22, #1
	marker	x22
1:	add	x0, x0, #4
	add	x1, x1, #N
	subs	x24, x24, #1
	b.ne	step

	st1w	{z0.s}, p0, [x21, x23, lsl #2]
	incw	x23
	whilelt	p0.s, x23, x25
	b.first	part

	add	x19, x19, #4 * N
	add	x21, x21, #4 * N
	cmp	x21, x26
	b.lo	row

	adr	x0, title
	bl	print
	adrp	x0, matrix_c
	add	x0, x0, :lo12:matrix_c
	bl	checksum
	bl	print_number
	b	power_off

title:	.asciz	"C = A x B, SVE: "
	.balign	4

#include "matrices.h"
	routines

	.bss
	.balign	256
matrix_a:
	.space	4 * N * N
matrix_b:
	.space	4 * N * N
matrix_c:
	.space	4 * N * N
	.balign	16
	.space	1024
stack_top:
