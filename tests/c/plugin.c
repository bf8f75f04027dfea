/* A shared object of somebody else that contains Stoop, and exports one function of its own. */
#include <stdlib.h>

#include <stoop/stoop.h>

__attribute__((visibility("default"))) int plugin_train(double* accuracy);

/* Trains exclusive or; returns 0 unless something failed. */
int plugin_train(double* accuracy) {
  static const float x[] = {0, 0, 0, 1, 1, 0, 1, 1};
  static const int32_t y[] = {0, 1, 1, 0};
  int status = STOOP_INTERNAL;
  stoop_model* model = stoop_model_create(
      "{\"input_dim\": 2, \"layers\": [{\"type\": \"dense\", \"units\": 16, \"activation\": \"tanh\"},"
      " {\"type\": \"dense\", \"units\": 2}]}");
  stoop_trainer* trainer = stoop_trainer_create(
      model, "{\"optimizer\": {\"type\": \"adam\", \"learning_rate\": 0.02}, \"num_threads\": 2}");
  if (trainer != NULL) status = stoop_trainer_fit(trainer, x, 4, y, NULL, "{\"epochs\": 300, \"batch_size\": 4}");
  if (status == STOOP_OK) status = stoop_trainer_evaluate(trainer, x, 4, y, NULL, NULL, accuracy);
  stoop_trainer_free(trainer);
  stoop_model_free(model);
  return status;
}
