// Executes instruction words in QEMU's user mode: a word and a block of state in, the state after out.
//
// In: flags (1: memory, 2: streaming and ZA, 4: ZT0) and the word, a doubleword each; then a block:
// X0..X15, X17, NZCV, FPCR (19 doublewords), ZT0 at 192, padded to 256 bytes; Z0..Z31, P0..P15 and FFR at
// the vector length in use; ZA's rows if streaming; memory if asked for.
// Out: a doubleword that is 0, then the same block with FPSR in place of FPCR; or 1 and nothing, after a
// signal. X16 points into the middle of the memory, which lies at MEMORY.
        .arch   armv9-a+sme
        .equ    SCALARS, 256
        .equ    MEMORY, 0x40100000
        .equ    MEMORY_SIZE, 32768
        .equ    CODE, 0x40000000
        .text
        .global _start

// x1 address, x2 bytes; reads or writes (x8) all of them through descriptor x9
transfer:
        mov     x3, x1
        mov     x4, x2
1:      cbz     x4, 2f
        mov     x0, x9
        mov     x1, x3
        mov     x2, x4
        svc     #0
        cmp     x0, #0
        b.le    finish
        add     x3, x3, x0
        sub     x4, x4, x0
        b       1b
2:      ret

finish: mov     x0, #0
        mov     x8, #93
        svc     #0

// x0 address, x1 bytes, x2 rights: maps anonymous memory there
map:    mov     x3, #0x32
        mov     x4, #-1
        mov     x5, #0
        mov     x8, #222
        svc     #0
        ret

_start: mov     x0, #CODE
        mov     x1, #4096
        mov     x2, #7
        bl      map
        mov     x0, #MEMORY
        mov     x1, #MEMORY_SIZE
        mov     x2, #3
        bl      map
        adr     x9, signalled
        adrp    x10, action
        add     x10, x10, :lo12:action
        str     x9, [x10]
        mov     x9, #0x40000000         // SA_NODEFER
        str     x9, [x10, #8]
        .irp    number, 4, 7, 11
        mov     x0, #\number
        mov     x1, x10
        mov     x2, #0
        mov     x3, #8
        mov     x8, #134
        svc     #0
        .endr
        mov     x26, sp

next:   smstop
        mov     sp, x26
        adrp    x28, block
        add     x28, x28, :lo12:block
        mov     x8, #63
        mov     x9, #0
        sub     x1, x28, #16
        mov     x2, #16
        bl      transfer
        ldp     x20, x29, [x28, #-16]
        mov     x9, #CODE
        str     w29, [x9]
        movz    w10, #0x03c0
        movk    w10, #0xd65f, lsl #16   // ret
        str     w10, [x9, #4]
        dc      cvau, x9
        dsb     ish
        ic      ivau, x9
        dsb     ish
        isb
        mov     x29, x9
        tbz     x20, #1, 1f
        smstart
1:      rdvl    x21, #1                 // x21 vector length, x22 block bytes
        mov     x22, #SCALARS
        mov     x9, #34
        madd    x22, x21, x9, x22       // 32 Z; 16 P and FFR take 17/8 of a vector
        add     x22, x22, x21, lsr #3
        tbz     x20, #1, 3f
        madd    x22, x21, x21, x22
3:      mov     x8, #63
        mov     x9, #0
        mov     x1, x28
        mov     x2, x22
        bl      transfer
        tbz     x20, #0, 5f
        mov     x8, #63
        mov     x9, #0
        mov     x1, #MEMORY
        mov     x2, #MEMORY_SIZE
        bl      transfer
        // a system call leaves streaming mode and clears Z and P; load everything after it
5:      tbz     x20, #1, 6f
        smstart
6:      add     x16, x28, #SCALARS
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
        tbz     x20, #1, 8f
        mov     w12, #0
        mov     x10, x16
7:      ldr     za[w12, 0], [x10]
        add     x10, x10, x21
        add     w12, w12, #1
        cmp     x12, x21
        b.lo    7b
8:      tbz     x20, #2, 9f
        add     x10, x28, #192
        .inst   0xe11f8140              // ldr zt0, [x10]
9:      mov     x16, #MEMORY
        add     x16, x16, #MEMORY_SIZE/2
        ldr     x9, [x28, #17*8]
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
        blr     x29
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
        addpl   x16, x16, #17
        tbz     x20, #1, 8f
        mov     w12, #0
7:      str     za[w12, 0], [x16]
        add     x16, x16, x21
        add     w12, w12, #1
        cmp     x12, x21
        b.lo    7b
8:      tbz     x20, #2, 9f
        add     x10, x28, #192
        .inst   0xe13f8140              // str zt0, [x10]
9:      smstop
        msr     fpcr, xzr
        mov     x25, #0
        bl      say
        mov     x8, #64
        mov     x9, #1
        mov     x1, x28
        mov     x2, x22
        bl      transfer
        tbz     x20, #0, next
        mov     x8, #64
        mov     x9, #1
        mov     x1, #MEMORY
        mov     x2, #MEMORY_SIZE
        bl      transfer
        b       next

signalled:
        mov     x25, #1
        msr     fpcr, xzr
        adr     x30, next
// writes x25
say:    mov     x27, x30
        str     x25, [x28, #-16]
        sub     x1, x28, #16
        mov     x2, #8
        mov     x8, #64
        mov     x9, #1
        bl      transfer
        br      x27

        .bss
        .balign 4096
action: .space  32
        .balign 4096
        .space  16
block:  .space  256 + 256*36 + 65536 + 4096
