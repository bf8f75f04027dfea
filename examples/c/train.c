/* Trains a network to tell three rings apart, saves it, loads it and predicts with it: the whole of the C interface.
 *   cc -std=c99 train.c $(pkg-config --cflags --libs stoop) -lm -o train && ./train rings.safetensors */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <stoop/stoop.h>

enum { SAMPLES = 3000, INPUTS = 2, CLASSES = 3 };

static void require(int fine, const char* what) {
  if (fine) return;
  fprintf(stderr, "%s: %s\n", what, stoop_last_error());
  exit(1);
}

/* Uniform in [-1, 1), the same on every platform. */
static float next_number(uint32_t* state) {
  *state = *state * 1664525u + 1013904223u;
  return (float)(*state >> 8) / 8388608.0f - 1.0f;
}

int main(int argc, char** argv) {
  static float x[SAMPLES * INPUTS];
  static int32_t y[SAMPLES];
  const char* path = argc > 1 ? argv[1] : "rings.safetensors";
  uint32_t state = 1;
  for (int i = 0; i < SAMPLES; ++i) {
    const float a = x[i * INPUTS] = next_number(&state), b = x[i * INPUTS + 1] = next_number(&state);
    const double radius = sqrt((double)(a * a + b * b));
    y[i] = radius < 0.5 ? 0 : radius < 0.9 ? 1 : 2;
  }

  stoop_model* model = stoop_model_create(
      "{\"input_dim\": 2, \"layers\": [{\"type\": \"dense\", \"units\": 64, \"activation\": \"relu\"},"
      " {\"type\": \"dense\", \"units\": 64, \"activation\": \"relu\"}, {\"type\": \"dense\", \"units\": 3}]}");
  require(model != NULL, "model");
  stoop_trainer* trainer = stoop_trainer_create(model, "{\"optimizer\": {\"type\": \"adam\", \"learning_rate\": 0.003}}");
  require(trainer != NULL, "trainer");
  const char* options = "{\"epochs\": 20, \"batch_size\": 64}";
  require(stoop_trainer_fit(trainer, x, SAMPLES, y, NULL, options) == STOOP_OK, "fit");
  double loss, accuracy;
  require(stoop_trainer_evaluate(trainer, x, SAMPLES, y, NULL, &loss, &accuracy) == STOOP_OK, "evaluate");
  printf("stoop %s: loss %.4f, accuracy %.3f\n", stoop_version(), loss, accuracy);
  require(stoop_model_save(model, path) == STOOP_OK, "save");
  stoop_trainer_free(trainer);
  stoop_model_free(model);

  model = stoop_model_load(path);
  require(model != NULL, "load");
  const float centre[INPUTS] = {0.0f, 0.0f};
  float logits[CLASSES];
  require(stoop_model_predict(model, centre, 1, logits) == STOOP_OK, "predict");
  int best = 0;
  for (int k = 1; k < CLASSES; ++k) best = logits[k] > logits[best] ? k : best;
  printf("the centre is in ring %d\n", best);
  stoop_model_free(model);
  return best == 0 && accuracy > 0.95 ? 0 : 1;
}
