// Executes instructions under test in QEMU's user mode: a block of state in, the state after out.
// Assembled around the cases that `oracle.py` generates; `CASES` is their macro.
//
// A block: X0..X15, X17, NZCV, FPCR (19 doublewords, padded to 256 bytes), then Z0..Z31, P0..P15 and FFR
// at the vector length in use, then with MEM 16 KiB of memory, with ZA its rows.
// Out comes the same with FPSR in place of FPCR. X16 points into the middle of the memory.
        .arch   armv9-a+sme+sme-f64+sme-i64+f64mm+i8mm+bf16
        .text
        .global _start
        .equ    SCALARS, 256
        .equ    MEMORY, 16384

// x20 flags (1: memory, 2: streaming and ZA), x21 vector length, x22 block bytes
load:   mov     x27, x30
        tbz     x20, #1, 1f
        smstart
1:      rdvl    x21, #1
        mov     x22, #SCALARS
        mov     x9, #34
        madd    x22, x21, x9, x22       // 32 Z; 16 P and FFR take 17/8 of a vector, rounded up to 2
        add     x22, x22, x21, lsr #3
        tbz     x20, #0, 2f
        add     x22, x22, #MEMORY
2:      tbz     x20, #1, 3f
        madd    x22, x21, x21, x22
3:      adrp    x28, block
        add     x28, x28, :lo12:block
        mov     x23, x28
        mov     x24, x22
4:      mov     x0, #0                  // read(0, x23, x24) until the block is whole
        mov     x1, x23
        mov     x2, x24
        mov     x8, #63
        svc     #0
        cmp     x0, #0
        b.le    fail
        add     x23, x23, x0
        subs    x24, x24, x0
        b.ne    4b
        // a system call leaves streaming mode and clears Z and P; load everything after it
        tbz     x20, #1, 5f
        smstart
5:      add     x16, x28, #SCALARS
        mov     x9, #0
        .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
        ldr     z\n, [x16, #\n, mul vl]
        .endr
        addvl   x16, x16, #31
        addvl   x16, x16, #1
        ldr     p0, [x16, #16, mul vl]
        wrffr   p0.b
        .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
        ldr     p\n, [x16, #\n, mul vl]
        .endr
        addpl   x16, x16, #17
        mov     x26, x16
        tbz     x20, #0, 6f
        add     x26, x16, #MEMORY
        mov     x9, #MEMORY/2
        add     x16, x16, x9
6:      tbz     x20, #1, 8f
        mov     w12, #0
        mov     x10, x26
7:      ldr     za[w12, 0], [x10]
        add     x10, x10, x21
        add     w12, w12, #1
        cmp     x12, x21
        b.lo    7b
8:      ldr     x9, [x28, #17*8]
        msr     nzcv, x9
        ldr     x9, [x28, #18*8]
        msr     fpcr, x9
        msr     fpsr, xzr
        ldr     x17, [x28, #16*8]
        ldp     x0, x1, [x28]
        ldp     x2, x3, [x28, #16]
        ldp     x4, x5, [x28, #32]
        ldp     x6, x7, [x28, #48]
        ldp     x8, x9, [x28, #64]
        ldp     x10, x11, [x28, #80]
        ldp     x12, x13, [x28, #96]
        ldp     x14, x15, [x28, #112]
        ret     x27

dump:   mov     x27, x30
        stp     x0, x1, [x28]
        stp     x2, x3, [x28, #16]
        stp     x4, x5, [x28, #32]
        stp     x6, x7, [x28, #48]
        stp     x8, x9, [x28, #64]
        stp     x10, x11, [x28, #80]
        stp     x12, x13, [x28, #96]
        stp     x14, x15, [x28, #112]
        str     x17, [x28, #16*8]
        mrs     x9, nzcv
        str     x9, [x28, #17*8]
        mrs     x9, fpsr
        str     x9, [x28, #18*8]
        add     x16, x28, #SCALARS
        .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
        str     z\n, [x16, #\n, mul vl]
        .endr
        addvl   x16, x16, #31
        addvl   x16, x16, #1
        .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
        str     p\n, [x16, #\n, mul vl]
        .endr
        rdffr   p0.b
        str     p0, [x16, #16, mul vl]
        tbz     x20, #1, 8f
        mov     w12, #0
        mov     x10, x26
7:      str     za[w12, 0], [x10]
        add     x10, x10, x21
        add     w12, w12, #1
        cmp     x12, x21
        b.lo    7b
        smstop
8:      msr     fpcr, xzr
        mov     x23, x28
        mov     x24, x22
4:      mov     x0, #1
        mov     x1, x23
        mov     x2, x24
        mov     x8, #64
        svc     #0
        cmp     x0, #0
        b.le    fail
        add     x23, x23, x0
        subs    x24, x24, x0
        b.ne    4b
        ret     x27

fail:   mov     x0, #1
        mov     x8, #93
        svc     #0

        .macro  CASE flags, trials, insn:vararg
        mov     x20, #\flags
        mov     x25, #\trials
100:    bl      load
        \insn
        bl      dump
        subs    x25, x25, #1
        b.ne    100b
        .endm

_start:
        CASES
        mov     x0, #0
        mov     x8, #93
        svc     #0
        .bss
        .balign 4096
block:  .space  256 + 256*36 + 16384 + 65536 + 4096
