// Model<T>: the parameters' layout, their first values and prediction. Saving and loading: model_file.cpp.

#include <stoop/model.hpp>

#include <algorithm>

#include <stoop/error.hpp>
#include <stoop/runtime.hpp>

#include "../ops/select.hpp"
#include "../plan/execute.hpp"
#include "../plan/plan.hpp"
#include "../train/dataset.hpp"
#include "initialize.hpp"

namespace stoop {
namespace {

// Rows a thread takes through the network at a time: enough to reuse the weights, few enough to stay in cache.
constexpr Index kManyRows = 128;
constexpr Index kFewRows = 8;

// Of inputs and units: products of two then fit an Index, and no machine has room for more.
constexpr Index kMostUnits = Index{1} << 31;
constexpr Index kMostElements = Index{1} << 40;

void check_dense(const Dense& dense, std::size_t layer) {
  if (dense.units >= 1 && dense.units <= kMostUnits) return;
  throw_value_error("Dense", "layer " + std::to_string(layer) + " has units=" + std::to_string(dense.units),
                    "expected 1 to 2^31", "give the number of outputs of the layer");
}

void check_initializer(const Initializer& initializer, std::size_t layer) {
  const bool needs_positive =
      initializer.kind == InitializerKind::normal || initializer.kind == InitializerKind::uniform;
  const bool finite = initializer.value - initializer.value == 0.0;
  if (finite && (!needs_positive || initializer.value >= 0.0)) return;
  throw_value_error(name_of(initializer.kind),
                    "layer " + std::to_string(layer) + " has the value " + std::to_string(initializer.value),
                    needs_positive ? "expected a finite number >= 0" : "expected a finite number",
                    "give the constant, the standard deviation or the limit");
}

void check_activation(const Activation& activation, std::size_t layer) {
  const double parameter = parameter_of(activation);
  // The derivative is found from the sign of the output, which a negative slope would turn around.
  if (parameter >= 0.0 && parameter - parameter == 0.0) return;
  throw_value_error("LeakyReLU", "layer " + std::to_string(layer) + " has negative_slope=" + std::to_string(parameter),
                    "expected a finite number >= 0", "the usual value is 0.01");
}

void check_config(const ModelConfig& config) {
  if (config.input_dim < 1 || config.input_dim > kMostUnits) {
    throw_value_error("Model", "input_dim=" + std::to_string(config.input_dim), "expected 1 to 2^31",
                      "give the number of columns of X");
  }
  bool has_dense = false;
  for (std::size_t i = 0; i < config.layers.size(); ++i) {
    if (const Dense* dense = std::get_if<Dense>(&config.layers[i])) {
      has_dense = true;
      check_dense(*dense, i);
      check_activation(dense->activation, i);
      check_initializer(dense->bias_init, i);
      if (dense->kernel_init) check_initializer(*dense->kernel_init, i);
    } else {
      check_activation(*as_activation(config.layers[i]), i);
    }
  }
  if (!has_dense) {
    throw_value_error("Model", std::to_string(config.layers.size()) + " layers without a Dense among them",
                      "expected at least one Dense", "add the output layer, Dense(number of outputs)");
  }
}

// What a Dense draws its weight from: he_normal keeps the variance through a ReLU, glorot_uniform through tanh.
Initializer kernel_init_of(const std::vector<Layer>& layers, std::size_t i) {
  const Dense& dense = std::get<Dense>(layers[i]);
  if (dense.kernel_init) return *dense.kernel_init;
  ActivationKind activation = kind_of(dense.activation);
  if (activation == ActivationKind::identity && i + 1 < layers.size()) {
    if (const auto next = as_activation(layers[i + 1])) activation = kind_of(*next);
  }
  return {is_relu_like(activation) ? InitializerKind::he_normal : InitializerKind::glorot_uniform, 0.0};
}

}  // namespace

template <class T>
struct Model<T>::Impl {
  ModelConfig config;
  std::vector<ParameterInfo> parameters;
  AlignedBuffer<T> block;
  Index output_dim = 0;
  Index num_parameters = 0;
  GemmProvider provider = GemmProvider::native;
  const OpTable<T>* ops = nullptr;
  Plan few, many;  // inference plans by how many rows are asked for

  void add_parameter(std::size_t layer, const char* what, Index rows, Index cols, int rank) {
    constexpr Index kStep = kAlignment / static_cast<Index>(sizeof(T));
    const Index offset =
        parameters.empty()
            ? 0
            : round_up(parameters.back().offset + parameters.back().rows * parameters.back().cols, kStep);
    parameters.push_back({std::to_string(layer) + "." + what, offset, rows, cols, rank, rank == 2});
    num_parameters += rows * cols;
    if (num_parameters > kMostElements) throw_out_of_memory(num_parameters, sizeof(T));
  }

  void lay_out() {
    Index width = config.input_dim;
    for (std::size_t i = 0; i < config.layers.size(); ++i) {
      const Dense* dense = std::get_if<Dense>(&config.layers[i]);
      if (dense == nullptr) continue;
      add_parameter(i, "weight", width, dense->units, 2);
      if (dense->use_bias.value_or(true)) add_parameter(i, "bias", 1, dense->units, 1);
      width = dense->units;
    }
    output_dim = width;
    const ParameterInfo& last = parameters.back();
    block.reset(round_up(last.offset + last.rows * last.cols, kAlignment));
  }

  void draw_parameters() {
    std::size_t p = 0;
    for (std::size_t i = 0; i < config.layers.size(); ++i) {
      const Dense* dense = std::get_if<Dense>(&config.layers[i]);
      if (dense == nullptr) continue;
      const auto fill = [&](const Initializer& initializer, const ParameterInfo& info) {
        initialize(initializer, config.seed, static_cast<std::uint32_t>(p), info.rows, info.cols,
                   block.data() + info.offset);
        ++p;
      };
      fill(kernel_init_of(config.layers, i), parameters[p]);
      if (dense->use_bias.value_or(true)) fill(dense->bias_init, parameters[p]);
    }
  }

  void plan_inference() {
    provider = select_gemm_provider();
    ops = &active_table<T>();
    PlanRequest request{PlanKind::inference, &config, parameters, LossKind::mse, kFewRows, sizeof(T), provider};
    few = build_plan(request);
    request.batch = kManyRows;
    many = build_plan(request);
  }

  const ParameterInfo& find(std::string_view name) const {
    for (const ParameterInfo& info : parameters) {
      if (info.name == name) return info;
    }
    std::vector<std::string_view> names;
    for (const ParameterInfo& info : parameters) names.push_back(info.name);
    throw_unknown_name("Model.parameter", "parameter", name, names);
  }
};

template <class T>
Model<T>::Model(ModelConfig config) : impl_(std::make_unique<Impl>()) {
  check_config(config);
  impl_->config = std::move(config);
  impl_->lay_out();
  impl_->draw_parameters();
  impl_->plan_inference();
}

template <class T>
Model<T>::Model(const Model& other) : impl_(std::make_unique<Impl>(*other.impl_)) {}
template <class T>
Model<T>::Model(Model&& other) noexcept = default;
template <class T>
Model<T>& Model<T>::operator=(Model other) noexcept {
  std::swap(impl_, other.impl_);
  return *this;
}
template <class T>
Model<T>::~Model() = default;

template <class T>
Index Model<T>::input_dim() const {
  return impl_->config.input_dim;
}
template <class T>
Index Model<T>::output_dim() const {
  return impl_->output_dim;
}
template <class T>
Index Model<T>::num_parameters() const {
  return impl_->num_parameters;
}
template <class T>
const ModelConfig& Model<T>::config() const {
  return impl_->config;
}
template <class T>
const std::vector<ParameterInfo>& Model<T>::parameter_infos() const {
  return impl_->parameters;
}
template <class T>
std::span<T> Model<T>::parameter_block() {
  return {impl_->block.data(), static_cast<std::size_t>(impl_->block.size())};
}
template <class T>
std::span<const T> Model<T>::parameter_block() const {
  return {impl_->block.data(), static_cast<std::size_t>(impl_->block.size())};
}

template <class T>
MatrixView<T> Model<T>::parameter(std::string_view name) {
  const ParameterInfo& info = impl_->find(name);
  return matrix(impl_->block.data() + info.offset, info.rows, info.cols);
}
template <class T>
MatrixView<const T> Model<T>::parameter(std::string_view name) const {
  const ParameterInfo& info = impl_->find(name);
  return matrix(static_cast<const T*>(impl_->block.data()) + info.offset, info.rows, info.cols);
}

template <class T>
void Model<T>::predict(MatrixView<const T> x, MatrixView<T> out) const {
  if (x.rows > 0) check_samples("Model.predict", x, impl_->config.input_dim);
  if (out.rows != x.rows || out.cols != impl_->output_dim || out.stride < out.cols) {
    throw_value_error("Model.predict", "out is " + std::to_string(out.rows) + " x " + std::to_string(out.cols),
                      "expected " + std::to_string(x.rows) + " x " + std::to_string(impl_->output_dim),
                      "one row per sample, one column per output");
  }
  if (x.rows == 0) return;
  InferenceRun<T> run;
  run.plan = x.rows <= kFewRows ? &impl_->few : &impl_->many;
  run.ops = impl_->ops;
  run.parameters = impl_->block.data();
  run.data.x = x;
  run.out = out;
  const double flops = impl_->many.flops / static_cast<double>(kManyRows) * static_cast<double>(x.rows);
  run.threads = useful_threads(flops, get_num_threads());
  run_inference(run);
}

template class Model<float>;
template class Model<double>;

}  // namespace stoop
