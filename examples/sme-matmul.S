/* A matrix product by outer products: streaming SVE loads columns of A and rows of B, FMOPA adds up
 * a tile of C in ZA. Any streaming vector length will do; one marker in the middle of each tile.
 *
 * A[i][k] = (3i + 5k) mod 11 - 5 and B[k][j] = (7k + 2j) mod 13 - 6 are small integers, so every sum
 * is exact and the result does not depend on the length.
 */
#include "guest.h"

	.equ	N, 24			/* rows and columns */

	.arch	armv9-a+sme
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
	mov	x0, #15			/* the longest streaming vectors there are */
	msr	smcr_el1, x0
	isb

	adrp	x19, a_transposed
	add	x19, x19, :lo12:a_transposed
	adrp	x20, matrix_b
	add	x20, x20, :lo12:matrix_b
	adrp	x21, matrix_c
	add	x21, x21, :lo12:matrix_c
	mov	x0, x19			/* A is kept by columns: element (k, i) */
	mov	w1, #5
	mov	w2, #3
	mov	w3, #11
	mov	w4, #5
	bl	fill
	mov	x0, x20
	mov	w1, #7
	mov	w2, #2
	mov	w3, #13
	mov	w4, #6
	bl	fill

	smstart
	mov	x22, #0			/* first row of the tile */
	mov	x27, #0			/* tiles begun */
	cntw	x28			/* rows and columns of a tile */
tile_row:
	mov	x23, #0			/* first column of the tile */
	mov	x25, #N
	whilelt	p0.s, x22, x25
tile:
	mov	x25, #N
	whilelt	p1.s, x23, x25
	zero	{za0.s}
	mov	x0, x22			/* A[i0...][k] */
	mov	x1, x23			/* B[k][j0...] */
	mov	x24, #N
step:
	ld1w	{z0.s}, p0/z, [x19, x0, lsl #2]
	ld1w	{z1.s}, p1/z, [x20, x1, lsl #2]
	fmopa	za0.s, p0/m, p1/m, z0.s, z1.s
	cmp	x24, #N / 2		/* half of the sums are in ZA */
	b.ne	1f
	add	x27, x27, #1
	marker	x27
1:	add	x0, x0, #N
	add	x1, x1, #N
	subs	x24, x24, #1
	b.ne	step

	mov	x0, #N			/* the tile's first element in C */
	madd	x0, x22, x0, x23
	mov	w12, #0
	mov	x1, #N
	sub	x1, x1, x22		/* rows left */
	cmp	x1, x28
	csel	x1, x1, x28, lo
row:
	st1w	{za0h.s[w12, 0]}, p1, [x21, x0, lsl #2]
	add	x0, x0, #N
	add	w12, w12, #1
	cmp	w12, w1
	b.lo	row

	add	x23, x23, x28
	cmp	x23, #N
	b.lo	tile
	add	x22, x22, x28
	cmp	x22, #N
	b.lo	tile_row
	smstop

	adr	x0, title
	bl	print
	mov	x0, x21
	bl	checksum
	bl	print_number
	b	power_off

title:	.asciz	"C = A x B, streaming SVE and ZA: "
	.balign	4

#include "matrices.h"
	routines

	.bss
	.balign	256
a_transposed:
	.space	4 * N * N
matrix_b:
	.space	4 * N * N
matrix_c:
	.space	4 * N * N
	.balign	16
	.space	1024
stack_top:
