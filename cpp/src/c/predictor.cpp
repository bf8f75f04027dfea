// Predictors in the C interface.
#include <stoop/predictor.hpp>

#include "guard.hpp"

struct stoop_predictor {
  stoop::Predictor<float> predictor;
};

using namespace stoop::c;

extern "C" {

stoop_predictor* stoop_predictor_create(const stoop_model* model) {
  stoop_predictor* made = nullptr;
  guarded([&] {
    require("stoop_predictor_create", "model", model, "make one with stoop_model_create or stoop_model_load");
    made = new stoop_predictor{stoop::Predictor<float>(*model->model)};
  });
  return made;
}

int stoop_predictor_predict(const stoop_predictor* predictor, const float* x, int64_t rows, float* out) {
  return guarded([&] {
    constexpr const char* where = "stoop_predictor_predict";
    require(where, "predictor", predictor, "make one with stoop_predictor_create");
    const stoop::Model<float>& network = predictor->predictor.model();
    const stoop::MatrixView<const float> inputs = matrix_of(where, "x", x, rows, network.input_dim());
    matrix_of(where, "out", out, rows, network.output_dim());
    predictor->predictor.predict(inputs, stoop::matrix(out, rows, network.output_dim()));
  });
}

void stoop_predictor_free(stoop_predictor* predictor) { delete predictor; }

}  // extern "C"
