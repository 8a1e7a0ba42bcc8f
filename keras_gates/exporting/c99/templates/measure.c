/* Counts under an emulator that runs one instruction per nanosecond: ticks of a Cortex-M's SysTick, instructions of a RISC-V.
   Measures the stack by painting it. */

#include "model.h"

#include <stdio.h>

#define CALLS 8

extern uint32_t end[];
static model_state state;
$declarations

#ifdef __riscv
#define MASK 0xFFFFFFFFu
#define READ_STACK_POINTER(to) __asm__ volatile("mv %0, sp" : "=r"(to))
static uint32_t ticks(void)
{
    uint32_t count;
    __asm__ volatile(".option arch, +zicsr\n\tcsrr %0, minstret" : "=r"(count));
    return count;
}
#else
#define MASK 0xFFFFFFu
#define READ_STACK_POINTER(to) __asm__ volatile("mov %0, sp" : "=r"(to))
static uint32_t ticks(void)
{
    static volatile uint32_t *const systick = (volatile uint32_t *)0xE000E010;
    if (!(systick[0] & 1)) /* the bit of the clock may be set from the start */
        systick[1] = 0xFFFFFF, systick[2] = 0, systick[0] = 5;
    return 0u - systick[2]; /* it counts down */
}
#endif

int main(void)
{
    volatile uint32_t *top, *p;
    READ_STACK_POINTER(top); /* nothing of this function lies below */
    model_reset(&state);
    for (p = end; p < top; ++p)
        *p = 0xA5A5A5A5u;
    const uint32_t before = ticks();
    for (int i = 0; i < CALLS; ++i)
        $call
    const uint32_t passed = (ticks() - before) & MASK;
    for (p = end; *p == 0xA5A5A5A5u && p < top; ++p)
        ;
    printf("%u %u %u\n", (unsigned)passed, (unsigned)((char *)top - (char *)p), (unsigned)sizeof state);
    return 0;
}
