/* What the example guests share: the devices they know, and how they begin and end.
 *
 * Console: a byte stored at 0x09000000 is printed. Marker: a word stored at 0x09001000 tells how far
 * the guest is, and is where `armkvm migrate --guest` can stop it. PSCI SYSTEM_OFF ends the run.
 */

	.equ	CONSOLE, 0x09000000
	.equ	MARKER,  0x09001000
	.equ	SYSTEM_OFF, 0x84000008

	/* Report every exception as "!ESR" and stop. Clobbers x0. */
	.macro	catch_exceptions
	adr	x0, exception_vectors
	msr	vbar_el1, x0
	isb
	.endm

	.macro	marker value
	ldr	x9, =MARKER
	str	\value, [x9]
	.endm

	.macro	routines

	/* The text at x0, up to its zero byte. */
print:	mov	x9, #CONSOLE
0:	ldrb	w10, [x0], #1
	cbz	w10, 1f
	strb	w10, [x9]
	b	0b
1:	ret

	/* x0 as 16 hexadecimal digits and a new line. */
print_number:
	mov	x9, #CONSOLE
	mov	w11, #16
0:	ror	x0, x0, #60
	and	w10, w0, #15
	cmp	w10, #10
	add	w12, w10, #'a' - 10
	add	w10, w10, #'0'
	csel	w10, w10, w12, lo
	strb	w10, [x9]
	subs	w11, w11, #1
	b.ne	0b
	mov	w10, #'\n'
	strb	w10, [x9]
	ret

power_off:
	ldr	x0, =SYSTEM_OFF
	hvc	#0
	b	power_off

failed:	mov	x9, #CONSOLE
	mov	w10, #'!'
	strb	w10, [x9]
	mrs	x0, esr_el1
	bl	print_number
	b	power_off

	.ltorg
	.balign	0x800
exception_vectors:
	.rept	16
	b	failed
	.balign	0x80
	.endr
	.endm
