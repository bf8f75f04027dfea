// What runs first on a Cortex-M: the vectors, and a jump to the start-up code of newlib, which prints through the emulator.
#include <stdint.h>

extern void _start(void);
extern char __stack;

static void halt(void) {
  for (;;) {
  }
}

static void reset(void) {
  *(volatile uint32_t*)0xE000ED88 |= 0xFu << 20;  // CPACR: the floating-point unit is on, where there is one
  __asm__ volatile("dsb\n isb");
  _start();
}

struct Vectors {
  char* stack;
  void (*handlers[15])(void);
};

__attribute__((section(".vectors"), used)) static const struct Vectors vectors = {
    &__stack, {reset, halt, halt, halt, halt, halt}};
