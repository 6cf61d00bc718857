// A hypervisor and its guest, which uses ZA. What each sees goes to `log`, eight bytes at a time.
// With VHE=1 the hypervisor relies on HCR_EL2.E2H, with VHE=0 on its absence.
//
//   for vhe in 0 1; do
//     aarch64-linux-gnu-as -march=armv9-a+sme --defsym VHE=$vhe two_levels.S -o two_levels.o
//     aarch64-linux-gnu-objcopy -O binary two_levels.o two_levels_$vhe.bin
//   done

	.macro	note, reg
	str	\reg, [x28], #8
	.endm

	.macro	imm64, reg, value
	movz	\reg, #((\value) & 0xffff)
	movk	\reg, #(((\value) >> 16) & 0xffff), lsl #16
	movk	\reg, #(((\value) >> 32) & 0xffff), lsl #32
	movk	\reg, #(((\value) >> 48) & 0xffff), lsl #48
	.endm

	// CPTR_EL2: everything open, SVE closed, SME closed
	.if	VHE
	.equ	OPEN, 3 << 24 | 3 << 20 | 3 << 16
	.equ	NO_SVE, 3 << 24 | 3 << 20
	.equ	NO_SME, 3 << 20 | 3 << 16
	.else
	.equ	OPEN, 0x22ff
	.equ	NO_SVE, 0x22ff | 1 << 8
	.equ	NO_SME, 0x22ff | 1 << 12
	.endif
	.equ	EZT0, 1 << 30
	.equ	FA64, 1 << 31

	.macro	of_guest, name, reg	// EL1's register, as EL2 names it
	.if	VHE
	msr	\name\()_EL12, \reg
	.else
	msr	\name\()_EL1, \reg
	.endif
	.endm

	.text
_start:
	adr	x28, log
	mrs	x0, CurrentEL
	note	x0
	mrs	x0, HCR_EL2
	note	x0
	adr	x1, el2_vectors
	.if	VHE
	msr	VBAR_EL1, x1		// means EL2's
	.else
	msr	VBAR_EL2, x1
	.endif
	mrs	x0, VBAR_EL2
	sub	x0, x0, x1
	note	x0

	imm64	x0, NO_SVE
	msr	CPTR_EL2, x0
	ptrue	p0.b			// taken to EL2 itself
	imm64	x0, OPEN
	msr	CPTR_EL2, x0
	ptrue	p0.b

	imm64	x0, 15 | EZT0 | FA64
	of_guest SMCR, x0
	imm64	x0, 1 | EZT0 | FA64
	msr	SMCR_EL2, x0
	imm64	x0, 3 << 24 | 3 << 20 | 3 << 16
	of_guest CPACR, x0
	adr	x0, el1_vectors
	of_guest VBAR, x0
	imm64	x0, 0xfffc000000000000	// fine-grained traps of negative polarity: off
	msr	S3_4_C1_C1_4, x0	// HFGRTR_EL2
	msr	S3_4_C1_C1_5, x0	// HFGWTR_EL2
	imm64	x0, 3 << 40 | 1 << 31
	.if	VHE
	orr	x0, x0, #1 << 34
	.endif
	msr	HCR_EL2, x0
	adr	x0, el1_stack
	msr	SP_EL1, x0
	imm64	x0, NO_SME
	msr	CPTR_EL2, x0
	adr	x0, guest
	msr	ELR_EL2, x0
	mov	x0, #0x3c5
	msr	SPSR_EL2, x0
	eret

guest:
	mrs	x0, CurrentEL
	note	x0
	smstart				// its hypervisor traps SME
	rdsvl	x0, #1			// limited by SMCR_EL2
	note	x0
	mrs	x0, SMCR_EL1
	note	x0
	ptrue	p0.b
	mov	w12, #0
	index	z0.b, #3, #1
	mova	za0h.b[w12, 0], p0/m, z0.b
	hvc	#7			// its hypervisor takes ZT0 away
	adr	x1, table
	.inst	0xe11f8020		// ldr zt0, [x1]
	mova	z1.b, p0/m, za0h.b[w12, 0]
	st1d	{z1.d}, p0, [x28]
	add	x28, x28, #32
	mov	x2, sp
	adr	x3, el1_stack
	sub	x2, x2, x3
	note	x2
	svc	#3			// its own
	hvc	#8			// its hypervisor traps TPIDR2_EL0
	mrs	x5, TPIDR2_EL0
	rdsvl	x0, #1
	note	x0
	hvc	#9

	.balign	0x800
el1_vectors:
	.space	0x200
	mrs	x20, ESR_EL1
	note	x20
	mrs	x20, SPSR_EL1
	note	x20
	eret

	.balign	0x800
el2_vectors:
	.space	0x200
	mrs	x20, ESR_EL2		// from EL2
	note	x20
	mrs	x20, SPSR_EL2
	note	x20
	mrs	x20, ELR_EL2
	add	x20, x20, #4
	msr	ELR_EL2, x20
	eret

	.balign	0x200
	mrs	x20, ESR_EL2		// from the guest
	note	x20
	lsr	x21, x20, #26
	and	x22, x20, #0xffff
	cmp	x21, #0x1d
	b.eq	sme
	cmp	x21, #0x16
	b.eq	call
	mrs	x20, ELR_EL2
	add	x20, x20, #4
	msr	ELR_EL2, x20
	eret
sme:
	cbnz	x22, zt0
	imm64	x20, OPEN
	msr	CPTR_EL2, x20
	eret
zt0:
	mrs	x20, SMCR_EL2
	orr	x20, x20, #EZT0
	msr	SMCR_EL2, x20
	eret
call:
	cmp	x22, #7
	b.eq	take_zt0
	cmp	x22, #8
	b.eq	trap_tpidr2
	mrs	x20, CurrentEL
	note	x20
	mrs	x20, SPSR_EL2
	note	x20
	imm64	x20, 15 | EZT0 | FA64
	msr	SMCR_EL2, x20
	rdsvl	x20, #1
	note	x20
	imm64	x0, 0x84000008		// PSCI SYSTEM_OFF
	smc	#0
take_zt0:
	mrs	x20, SMCR_EL2
	bic	x20, x20, #EZT0
	msr	SMCR_EL2, x20
	eret
trap_tpidr2:
	mrs	x20, S3_4_C1_C1_4
	bic	x20, x20, #1 << 55
	msr	S3_4_C1_C1_4, x20
	eret

	.balign	64
table:
	.fill	64, 1, 0x5a
	.space	64
el1_stack:
	.balign	64
log:
