/* Matrices of N x N single-precision numbers. */

	/* x0: element (r, c) becomes (w1 r + w2 c) mod w3 - w4. */
fill:	mov	w5, #0			/* r */
0:	mov	w6, #0			/* c */
1:	mul	w7, w5, w1
	madd	w7, w6, w2, w7
	udiv	w8, w7, w3
	msub	w7, w8, w3, w7
	sub	w7, w7, w4
	scvtf	s0, w7
	str	s0, [x0], #4
	add	w6, w6, #1
	cmp	w6, #N
	b.lo	1b
	add	w5, w5, #1
	cmp	w5, #N
	b.lo	0b
	ret

	/* The elements at x0, each weighed by its place, as one number in x0. */
checksum:
	mov	x1, #0
	mov	x2, #0
	ldr	x4, =0x9e3779b97f4a7c15
	mov	x5, #N * N
0:	ldr	w3, [x0, x2, lsl #2]
	eor	x1, x1, x3
	mul	x1, x1, x4
	eor	x1, x1, x1, lsr #29
	add	x2, x2, #1
	cmp	x2, x5
	b.lo	0b
	mov	x0, x1
	ret
