/* Starts a Cortex-M under an emulator: vectors, memory, semihosting for printf, main, exit with its status. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

extern uint32_t stack_top[], data_begin[], data_end[], data_load[], bss_begin[], bss_end[];
extern void initialise_monitor_handles(void);
extern int main(int argc, char **argv);

void start(void);
void _init(void) {} /* newlib calls both around main */
void _fini(void) {}

__attribute__((section(".vectors"), used)) static void *const vectors[2] = {stack_top, (void *)start};

void start(void)
{
#if defined(__ARM_FP)
    *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20; /* the coprocessor access register: switch the FPU on */
    __asm__ volatile("dsb\n\tisb");
#endif
    memcpy(data_begin, data_load, (size_t)((char *)data_end - (char *)data_begin));
    memset(bss_begin, 0, (size_t)((char *)bss_end - (char *)bss_begin));
    initialise_monitor_handles();
    exit(main(0, (char **)0));
}
