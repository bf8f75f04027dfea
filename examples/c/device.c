/* Tells handwritten digits apart as a small device would, with the header that docs/export-c.md writes: nothing is allocated,
 * and the memory that a prediction works in is one array.
 *   cc -std=c99 -O2 -I FOLDER_OF_THE_HEADER device.c -lm -o device && ./device < images.txt
 * Each image is 64 numbers from 0 to 16. */
#include <stdio.h>

#include "digits.h"

/* Stands for a sensor: returns 0 when there is no image left. */
static int read_image(float* pixels) {
  for (int i = 0; i < DIGITS_INPUT_DIM; ++i) {
    if (scanf("%f", &pixels[i]) != 1) return 0;
  }
  return 1;
}

int main(void) {
  static float pixels[DIGITS_INPUT_DIM], scratch[DIGITS_SCRATCH];
  float logits[DIGITS_OUTPUT_DIM];
  while (read_image(pixels)) {
    int best = 0;
    digits_predict_with(pixels, logits, scratch); /* digits_classify(pixels) has the memory on the stack */
    for (int i = 1; i < DIGITS_OUTPUT_DIM; ++i) best = logits[i] > logits[best] ? i : best;
    printf("%d\n", best);
  }
  return 0;
}
