/* Counts under an emulator that runs one instruction per nanosecond, with SysTick at 25 MHz; measures the stack by painting it. */

#include "model.h"

#include <stdio.h>

#define CALLS 8

extern uint32_t end[];
static volatile uint32_t *const systick = (volatile uint32_t *)0xE000E010;
static model_state state;
$declarations

int main(void)
{
    volatile uint32_t *top, *p;
    __asm__ volatile("mov %0, sp" : "=r"(top)); /* nothing of this function lies below */
    model_reset(&state);
    for (p = end; p < top; ++p)
        *p = 0xA5A5A5A5u;
    systick[1] = 0xFFFFFF, systick[2] = 0, systick[0] = 5;
    const uint32_t before = systick[2];
    for (int i = 0; i < CALLS; ++i)
        $call
    const uint32_t ticks = (before - systick[2]) & 0xFFFFFF;
    for (p = end; *p == 0xA5A5A5A5u && p < top; ++p)
        ;
    printf("%u %u %u\n", (unsigned)ticks, (unsigned)((char *)top - (char *)p), (unsigned)sizeof state);
    return 0;
}
