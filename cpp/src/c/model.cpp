// Models in the C interface.
#include <string>

#include <stoop/model.hpp>
#include <stoop/runtime.hpp>

#include "../base/path_text.hpp"
#include "../io/arguments.hpp"
#include "guard.hpp"

namespace stoop::c {
namespace {

constexpr const char* kMakeModel = "make one with stoop_model_create or stoop_model_load";

const Model<float>& model_of(const char* where, const stoop_model* handle) {
  require(where, "model", handle, kMakeModel);
  return *handle->model;
}

}  // namespace
}  // namespace stoop::c

using namespace stoop::c;

extern "C" {

const char* stoop_version(void) {
  static const std::string version = stoop::build_info().version;
  return version.c_str();
}

stoop_model* stoop_model_create(const char* config_json) {
  stoop_model* made = nullptr;
  guarded([&] {
    require("stoop_model_create", "config_json", config_json, "give JSON with \"input_dim\" and \"layers\"");
    made = new stoop_model{std::make_shared<stoop::Model<float>>(stoop::model_arguments_from_json(config_json))};
  });
  return made;
}

stoop_model* stoop_model_load(const char* path) {
  stoop_model* made = nullptr;
  guarded([&] {
    require("stoop_model_load", "path", path, "give the path of a model file");
    made = new stoop_model{std::make_shared<stoop::Model<float>>(stoop::Model<float>::load(stoop::path_of(path)))};
  });
  return made;
}

int stoop_model_save(const stoop_model* model, const char* path) {
  return guarded([&] {
    require("stoop_model_save", "path", path, "give the path of the file to write");
    model_of("stoop_model_save", model).save(stoop::path_of(path));
  });
}

int64_t stoop_model_input_dim(const stoop_model* model) {
  int64_t columns = -1;
  guarded([&] { columns = model_of("stoop_model_input_dim", model).input_dim(); });
  return columns;
}

int64_t stoop_model_output_dim(const stoop_model* model) {
  int64_t columns = -1;
  guarded([&] { columns = model_of("stoop_model_output_dim", model).output_dim(); });
  return columns;
}

int stoop_model_predict(const stoop_model* model, const float* x, int64_t rows, float* out) {
  return guarded([&] {
    constexpr const char* where = "stoop_model_predict";
    const stoop::Model<float>& network = model_of(where, model);
    const stoop::MatrixView<const float> inputs = matrix_of(where, "x", x, rows, network.input_dim());
    matrix_of(where, "out", out, rows, network.output_dim());
    network.predict(inputs, stoop::matrix(out, rows, network.output_dim()));
  });
}

void stoop_model_free(stoop_model* model) { delete model; }

}  // extern "C"
