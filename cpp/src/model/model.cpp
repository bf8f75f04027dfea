// Model<T>: layout and first values of the parameters, and prediction. model_file.cpp saves and loads.

#include <stoop/model.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include <stoop/error.hpp>
#include <stoop/runtime.hpp>

#include "../base/memory.hpp"
#include "../graph/element_range.hpp"
#include "../graph/input_map.hpp"
#include "../run/device.hpp"
#include "../data/checks.hpp"
#include "../data/code_checks.hpp"
#include "adapt.hpp"
#include "guarded_config.hpp"
#include "initialize.hpp"
#include "inference.hpp"
#include "input_gradient.hpp"
#include "outputs.hpp"

namespace stoop::inline v0_1 {
namespace {

// The seeds of the weights of members are so far apart. It is odd, and no seed that people choose.
constexpr std::uint64_t kMemberSeeds = 0x9E3779B97F4A7C15u;

// Checks that the two numbers can be used as numbers of T. A scale of 0 would leave nothing of the input.
template <class T>
void check_input_scaling(const ModelConfig& config) {
  const T scale = static_cast<T>(config.input_scale), shift = static_cast<T>(config.input_shift);
  const std::string in = kDType<T> == DType::float32 ? " in float32" : " in float64";
  if (!std::isfinite(scale) || std::abs(scale) < std::numeric_limits<T>::min()) {
    throw_value_error("Model", "input_scale=" + number_text(config.input_scale),
                      "expected a finite number" + in + ", not 0", "1/255 makes bytes numbers from 0 to 1");
  }
  if (!std::isfinite(shift)) {
    throw_value_error("Model", "input_shift=" + number_text(config.input_shift), "expected a finite number" + in,
                      "it is added after the multiplication by input_scale");
  }
}

void check_metadata(const Metadata& metadata) {
  std::size_t bytes = 0;
  for (const auto& [name, text] : metadata) bytes += name.size() + text.size();
  if (bytes <= kMostMetadataBytes) return;
  throw_value_error("Model", "metadata of " + std::to_string(bytes) + " bytes",
                    "expected at most " + std::to_string(kMostMetadataBytes),
                    "keep large things in a file of their own");
}

}  // namespace

template <class T>
struct Model<T>::Impl {
  GuardedConfig guarded;
  Graph graph;
  std::vector<ParameterInfo> parameters;
  std::vector<ParameterInfo> buffers;
  std::vector<std::size_t> by_name;  // positions in `parameters`, sorted by name
  AlignedBuffer<T> parameter_block;
  AlignedBuffer<T> buffer_block;
  MissingValues missing;  // what a NaN in X is
  Inference<T> inference;
  mutable InputGradients<T> input_gradients;

  Impl(ModelConfig settings, bool draws)
      : guarded(std::move(settings)),
        graph(build_graph(config(), kAlignment / static_cast<Index>(sizeof(T)))),
        parameter_block(graph.parameter_elements),
        buffer_block(graph.buffer_elements),
        missing(missing_values(graph)) {
    check_input_scaling<T>(config());
    check_output(config().output, graph.output_dim());
    check_classes(config().classes, graph.output_dim());
    check_metadata(config().metadata);
    check_numbers(ElementRange(sizeof(T)), config(), graph);
    parameters.reserve(graph.parameters.size());
    buffers.reserve(graph.buffers.size());
    for (const GraphParameter& parameter : graph.parameters) parameters.push_back(parameter.info);
    for (const GraphParameter& buffer : graph.buffers) buffers.push_back(buffer.info);
    by_name.resize(parameters.size());
    std::iota(by_name.begin(), by_name.end(), std::size_t{0});
    std::sort(by_name.begin(), by_name.end(),
              [this](std::size_t a, std::size_t b) { return parameters[a].name < parameters[b].name; });
    if (draws) fill(graph.parameters, parameter_block.data());
    if (draws) clear_special_rows();
    if (draws) fill(graph.buffers, buffer_block.data());
  }

  const ModelConfig& config() const { return guarded.get(); }
  OutputKind output() const { return guarded.output().value_or(OutputKind::identity); }
  const InferenceExecutor<T>& inference_now() const {
    return inference.of(graph, graph.members() == 1 ? OutputKind::identity : output());
  }

  // As the first layer sees them.
  SampleRows<T> scaled(const InputView& x) const {
    SampleRows<T> rows;
    rows.x = with_stride(x);
    if (graph.normalization) {
      rows.map = input_map(config(), graph, buffer_block.data());
    } else {
      rows.map.scale = static_cast<T>(config().input_scale);
      rows.map.shift = static_cast<T>(config().input_shift);
    }
    return rows;
  }

  void check_adapted(const char* where) const {
    if (!graph.normalization) return;
    stoop::check_adapted(where, input_map(config(), graph, buffer_block.data()), config().input_dim);
  }
  void check_samples(const char* where, const InputView& x, Poller* poller) const {
    stoop::check_samples<T>(where, x, config().input_dim, poller, missing);
    if (graph.columns) check_codes(where, x, graph.columns->columns);
  }

  void differentiate(const char* where, const InputView& x, MatrixView<const T> grad_output, MatrixView<T> out,
                     const KeepGoing& keep_going) const {
    Poller poller(keep_going);
    Derivatives<T> wanted;
    wanted.graph = &graph;
    wanted.output = output();
    wanted.data = scaled(x);
    wanted.parameters = parameter_block.data();
    wanted.running = buffer_block.data();
    wanted.data.x.mapped = false;  // all of it was checked
    wanted.grad_output = with_stride(grad_output);
    wanted.out = with_stride(out);
    wanted.poller = keep_going ? &poller : nullptr;
    if (!input_gradients.compute(wanted)) throw_interrupted(where);
  }

  void fill(const std::vector<GraphParameter>& from, T* block) {
    for (std::size_t i = 0; i < from.size(); ++i) {
      const ParameterInfo& info = from[i].info;
      const auto which = static_cast<std::uint32_t>(i);
      T* const out = block + info.offset;
      if (from[i].scale) {
        initialize_scale(*from[i].scale, config().seed, which, {info.rows, info.cols, from[i].chunks}, out);
        continue;
      }
      // Each member's weight is drawn for its own sizes.
      const Index rows = info.rows / info.members, size = rows * info.cols;
      for (Index m = 0; m < info.members; ++m) {
        initialize(from[i].initializer, config().seed + static_cast<std::uint64_t>(m) * kMemberSeeds, which, rows,
                   info.cols, out + m * size);
      }
    }
  }

  // Missing and unknown codes say nothing at first.
  void clear_special_rows() {
    if (!graph.columns || graph.columns->table_rows == 0) return;
    const ParameterInfo& table = parameters[static_cast<std::size_t>(graph.nodes[1].weight)];
    for (const EncodedColumn& column : graph.columns->columns) {
      if (column.kind != ColumnKind::embedding) continue;
      std::fill_n(parameter_block.data() + table.offset + (column.start + column.codes) * table.cols, 2 * table.cols,
                  T(0));
    }
  }

  const ParameterInfo& find(std::string_view name) const {
    const auto found = std::lower_bound(by_name.begin(), by_name.end(), name,
                                        [this](std::size_t i, auto wanted) { return parameters[i].name < wanted; });
    if (found != by_name.end() && parameters[*found].name == name) return parameters[*found];
    std::vector<std::string_view> names;
    for (const ParameterInfo& info : parameters) names.push_back(info.name);
    throw_unknown_name("Model.parameter", "parameter", name, names);
  }
};

template <class T>
Model<T>::Model(ModelConfig config) : impl_(std::make_unique<Impl>(std::move(config), true)) {}
template <class T>
Model<T>::Model(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
template <class T>
Model<T> Model<T>::without_values(ModelConfig config) {
  return Model(std::make_unique<Impl>(std::move(config), false));
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
  return impl_->config().input_dim;
}
template <class T>
Index Model<T>::output_dim() const {
  return impl_->graph.output_dim();
}
template <class T>
Index Model<T>::members() const {
  return impl_->graph.members();
}
template <class T>
Index Model<T>::num_parameters() const {
  return impl_->graph.num_parameters;
}
template <class T>
const ModelConfig& Model<T>::config() const {
  return impl_->config();
}
template <class T>
const std::vector<ParameterInfo>& Model<T>::parameter_infos() const {
  return impl_->parameters;
}
template <class T>
std::span<T> Model<T>::parameter_block() {
  return impl_->parameter_block.elements();
}
template <class T>
std::span<const T> Model<T>::parameter_block() const {
  return impl_->parameter_block.elements();
}

template <class T>
const std::vector<ParameterInfo>& Model<T>::buffer_infos() const {
  return impl_->buffers;
}
template <class T>
std::span<T> Model<T>::buffer_block() {
  return impl_->buffer_block.elements();
}
template <class T>
std::span<const T> Model<T>::buffer_block() const {
  return impl_->buffer_block.elements();
}

template <class T>
MatrixView<T> Model<T>::parameter(std::string_view name) {
  const ParameterInfo& info = impl_->find(name);
  return matrix(impl_->parameter_block.data() + info.offset, info.rows, info.cols);
}
template <class T>
MatrixView<const T> Model<T>::parameter(std::string_view name) const {
  const ParameterInfo& info = impl_->find(name);
  return matrix(static_cast<const T*>(impl_->parameter_block.data()) + info.offset, info.rows, info.cols);
}

template <class T>
void Model<T>::set_output(std::optional<OutputKind> output) {
  check_output(output, output_dim());
  impl_->guarded.set_output(output);
}
template <class T>
void Model<T>::set_classes(std::optional<ClassNames> classes) {
  check_classes(classes, output_dim());
  impl_->guarded.exchange(classes);
}
template <class T>
void Model<T>::set_metadata(Metadata metadata) {
  check_metadata(metadata);
  impl_->guarded.exchange(metadata);
}
template <class T>
void Model<T>::set_output_by_training(OutputKind output) {
  impl_->guarded.set_output_by_training(output);
}
template <class T>
bool Model<T>::output_is_given() const {
  return impl_->guarded.output_given();
}
template <class T>
std::optional<OutputKind> Model<T>::output() const {
  return impl_->guarded.output();
}
template <class T>
ModelConfig Model<T>::config_now() const {
  return impl_->guarded.now();
}

template <class T>
const InferenceExecutor<T>& Model<T>::inference() const {
  return impl_->inference_now();
}
template <class T>
bool Model<T>::is_adapted() const {
  return stoop::is_adapted(impl_->scaled({}).map, impl_->config().input_dim);
}

template <class T>
InferenceRun<T> Model<T>::inference_run(const InputView& x) const {
  InferenceRun<T> run;
  run.parameters = impl_->parameter_block.data();
  run.running = impl_->buffer_block.data();
  run.data = impl_->scaled(x);
  return run;
}

template <class T>
void Model<T>::adapt(const InputView& x, const KeepGoing& keep_going) {
  constexpr const char* kWhere = "Model.adapt";
  if (!impl_->graph.normalization) {
    throw_value_error(kWhere, "the model has no Normalization or Columns", "expected one as its first layer",
                      "make it with stoop.Normalization() before the first Dense");
  }
  Poller poller(keep_going);
  Poller* const asked = keep_going ? &poller : nullptr;
  impl_->check_samples(kWhere, x, asked);
  const StatisticsCall call{kWhere, get_num_threads(), asked};
  set_statistics(input_statistics(call, impl_->scaled(x), impl_->graph), impl_->graph, impl_->buffer_block.data());
}

template <class T>
void Model<T>::predict(const InputView& x, MatrixView<T> out, const KeepGoing& keep_going, int most_threads) const {
  if (most_threads < 0 || most_threads > kMostThreads) {
    throw_value_error("Model.predict", "most_threads is " + std::to_string(most_threads),
                      "expected 1 to " + std::to_string(kMostThreads), "leave it out for get_num_threads()");
  }
  predict_rows("Model.predict", x, out, keep_going, most_threads, {});
}

template <class T>
void Model<T>::predict_rows(const char* where, const InputView& x, MatrixView<T> out, const KeepGoing& keep_going,
                            int most_threads, const StripWeights<T>& strips) const {
  Poller poller(keep_going);
  Poller* const asked = keep_going ? &poller : nullptr;
  impl_->check_adapted(where);
  if (x.rows > 0) impl_->check_samples(where, x, asked);
  check_view(where, "out", out, x.rows, impl_->graph.output_dim());
  if (x.rows == 0) return;
  InferenceRun<T> run = inference_run(x);
  run.strips = strips;
  run.out = with_stride(out);
  run.poller = asked;
  run.most_threads = most_threads;
  const InferenceResult result = impl_->inference_now().run(run);
  if (result.interrupted) throw_interrupted(where);
  refuse_bad_row<T>(where, x, result.non_finite_row, impl_->missing);
}

template <class T>
void Model<T>::input_gradient(const InputView& x, MatrixView<const T> grad_output, MatrixView<T> out,
                              const KeepGoing& keep_going) const {
  constexpr const char* kWhere = "Model.input_gradient";
  Poller poller(keep_going);
  InputView samples = x;
  samples.mapped = false;
  impl_->check_adapted(kWhere);
  impl_->check_samples(kWhere, samples, keep_going ? &poller : nullptr);
  check_view(kWhere, "grad_output", grad_output, x.rows, output_dim());
  check_finite_matrix(kWhere, "grad_output", grad_output);
  check_view(kWhere, "out", out, x.rows, input_dim());
  impl_->differentiate(kWhere, samples, grad_output, out, keep_going);
}

template <class T>
void Model<T>::jacobian(const InputView& x, MatrixView<T> out, const KeepGoing& keep_going) const {
  constexpr const char* kWhere = "Model.jacobian";
  Poller poller(keep_going);
  InputView samples = x;
  samples.mapped = false;
  impl_->check_adapted(kWhere);
  impl_->check_samples(kWhere, samples, keep_going ? &poller : nullptr);
  check_view(kWhere, "out", out, x.rows, output_dim() * input_dim());
  impl_->differentiate(kWhere, samples, {}, out, keep_going);
}

template class Model<float>;
template class Model<double>;

}  // namespace stoop
