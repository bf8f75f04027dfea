// Makes a Graph from a ModelConfig, and checks the numbers of every layer.

#include "graph.hpp"

#include <algorithm>
#include <utility>

#include <stoop/error.hpp>

#include "../base/memory.hpp"
#include "../spec/fields.hpp"
#include "../spec/initializers.hpp"
#include "../spec/layers.hpp"

namespace stoop {
namespace {

constexpr Index kMostInputs = Index{1} << 31;

class GraphBuilder {
 public:
  GraphBuilder(const ModelConfig& config, Index alignment) : config_(config), alignment_(alignment) {}

  Graph build() {
    check_input();
    check_extent();
    Node input;
    input.layer = "the input";
    input.in_features = input.out_features = config_.input_dim;
    graph_.nodes.push_back(input);
    add_layers(config_.layers, "");
    const auto is_dense = [](const Node& node) { return node.kind == NodeKind::dense; };
    if (std::none_of(graph_.nodes.begin(), graph_.nodes.end(), is_dense)) {
      throw_value_error("Model", std::to_string(config_.layers.size()) + " layers without a Dense among them",
                        "expected at least one Dense", "add the output layer, Dense(number of outputs)");
    }
    count_consumers();
    return std::move(graph_);
  }

 private:
  void check_input() const {
    if (config_.input_dim >= 1 && config_.input_dim <= kMostInputs) return;
    throw_value_error("Model", "input_dim=" + std::to_string(config_.input_dim), "expected 1 to 2^31",
                      "give the number of columns of X");
  }

  // This comes before anything walks the layers by recursion, which only the stack would limit.
  void check_extent() const {
    Index count = 0;
    for (std::size_t i = 0; i < config_.layers.size(); ++i) {
      int deepest = 0;
      std::vector<std::pair<const Layer*, int>> open = {{&config_.layers[i], 0}};
      while (!open.empty()) {
        const auto [layer, depth] = open.back();
        open.pop_back();
        ++count;
        const auto* block = std::get_if<Residual>(layer);
        if (block == nullptr) continue;
        deepest = std::max(deepest, depth + 1);
        for (const Layer& inner : block->layers) open.emplace_back(&inner, depth + 1);
      }
      if (deepest > kMostNestedResiduals) {
        throw_value_error(
            "Model", "layer " + std::to_string(i) + " nests Residual " + std::to_string(deepest) + " deep",
            "expected at most " + std::to_string(kMostNestedResiduals), "put the inner layers one after another");
      }
    }
    if (count <= kMostLayers) return;
    throw_value_error("Model", std::to_string(count) + " layers", "expected at most " + std::to_string(kMostLayers),
                      "those within a Residual count too; make fewer, wider layers");
  }

  int last() const { return static_cast<int>(graph_.nodes.size()) - 1; }
  Index width() const { return graph_.nodes.back().out_features; }

  Node& add_node(NodeKind kind, Index out_features, int input) {
    Node node;
    node.kind = kind;
    node.input = input;
    node.in_features = graph_.nodes[static_cast<std::size_t>(input)].out_features;
    node.out_features = out_features;
    node.factors = factors_;
    graph_.nodes.push_back(node);
    return graph_.nodes.back();
  }

  int add_parameter(std::string name, Index rows, Index cols, int rank, bool regularized, const Initializer& init) {
    return append(graph_.parameters, graph_.parameter_elements, {std::move(name), 0, rows, cols, rank, regularized},
                  init);
  }

  int append(std::vector<GraphParameter>& block, Index& elements, ParameterInfo info, const Initializer& init) {
    info.offset = elements;
    const double size = static_cast<double>(info.rows) * static_cast<double>(info.cols);
    if (size > 0x1p40) {
      throw_value_error("Model", info.name + " has " + number_text(size) + " elements", "expected at most 2^40",
                        "make the layers smaller");
    }
    elements = round_up(elements + info.rows * info.cols, alignment_);
    if (&block == &graph_.parameters) graph_.num_parameters += info.rows * info.cols;
    block.push_back({std::move(info), init});
    return static_cast<int>(block.size()) - 1;
  }

  void add_layers(const std::vector<Layer>& layers, const std::string& prefix) {
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const std::string path = prefix + std::to_string(i);
      const std::size_t first = graph_.nodes.size();
      std::visit(
          [&]<class Op>(const Op& layer) {
            check_fields(layer, "layer " + path + " has ");
            const Factors outer = factors_;
            if constexpr (HasFactors<Op>) {
              factors_ = {outer.rate * layer.lr_scale, outer.decay * layer.decay_scale};
            }
            add(layer, layers, i, path);
            factors_ = outer;
            for (std::size_t n = first; n < graph_.nodes.size(); ++n) {
              std::string& name = graph_.nodes[n].layer;
              if (name.empty()) name = "layer " + path + " (" + Spec<Op>::kClass + ")";
            }
          },
          layers[i]);
    }
  }

  using Layers = std::vector<Layer>;

  void add(const Dense& dense, const Layers& layers, std::size_t i, const std::string& path) {
    std::visit([&](const auto& activation) { check_fields(activation, "layer " + path + " has "); }, dense.activation);
    const auto check = [&](const auto& initializer) { check_fields(initializer, "layer " + path + " has "); };
    std::visit(check, dense.bias_init);
    if (dense.kernel_init) std::visit(check, *dense.kernel_init);
    const Initializer kernel = dense.kernel_init.value_or(default_kernel_init(dense, layers, i));
    const bool before_batch_norm = kind_of(dense.activation) == kind_of<Identity>() && i + 1 < layers.size() &&
                                   std::holds_alternative<BatchNorm>(layers[i + 1]);
    const bool use_bias = dense.use_bias.value_or(!before_batch_norm);
    add_dense(last(), dense.units, path, kernel, use_bias ? &dense.bias_init : nullptr, dense.trainable);
    graph_.nodes.back().l1 = dense.l1;
    graph_.nodes.back().l2 = dense.l2;
    if (kind_of(dense.activation) != kind_of<Identity>()) add_activation(dense.activation);
  }

  void add_dense(int input, Index units, const std::string& path, const Initializer& kernel, const Initializer* bias,
                 bool trainable) {
    Node& node = add_node(NodeKind::dense, units, input);
    node.trainable = trainable_ && trainable;
    node.weight = add_parameter(path + ".weight", node.in_features, units, 2, true, kernel);
    if (bias != nullptr) node.bias = add_parameter(path + ".bias", 1, units, 1, false, *bias);
  }

  // he_normal keeps the variance through a ReLU, glorot_uniform through tanh. Layers between them do not matter.
  static Initializer default_kernel_init(const Dense& dense, const Layers& layers, std::size_t i) {
    ActivationKind following = kind_of(dense.activation);
    for (std::size_t j = i + 1; j < layers.size() && following == kind_of<Identity>(); ++j) {
      if (const auto activation = as_activation(layers[j])) {
        following = kind_of(*activation);
      } else if (std::holds_alternative<Dense>(layers[j]) || std::holds_alternative<Residual>(layers[j])) {
        break;
      }
    }
    if (is_relu_like(following)) return initializers::HeNormal{};
    return initializers::GlorotUniform{};
  }

  void add_activation(const Activation& activation) {
    Node& node = add_node(NodeKind::activation, width(), last());
    node.activation = activation;
  }

  void add(const BatchNorm& layer, const Layers&, std::size_t, const std::string& path) {
    Node& node = add_normalization(NodeKind::batch_norm, path, layer.eps, layer.trainable);
    node.momentum = layer.momentum;
    node.running_mean = append(graph_.buffers, graph_.buffer_elements,
                               {path + ".running_mean", 0, 1, node.out_features, 1, false}, initializers::Zeros{});
    node.running_var = append(graph_.buffers, graph_.buffer_elements,
                              {path + ".running_var", 0, 1, node.out_features, 1, false}, initializers::Ones{});
  }

  template <class Norm>
    requires requires { Spec<Norm>::kNode; }
  void add(const Norm& layer, const Layers&, std::size_t, const std::string& path) {
    add_normalization(Spec<Norm>::kNode, path, layer.eps, layer.trainable);
  }

  // All zero at first, so that a scale that is not 0 says that the statistics were set.
  void add(const Normalization& layer, const Layers&, std::size_t, const std::string& path) {
    if (path != "0") {
      throw_value_error("Model", "layer " + path + " is a Normalization", "expected it to be the first layer",
                        "put it there, or use LayerNorm or BatchNorm between other layers");
    }
    if (config_.input_scale != 1.0 || config_.input_shift != 0.0) {
      throw_value_error("Model", "input_scale or input_shift with a Normalization", "expected one of them",
                        "leave input_scale and input_shift out: the statistics of the layer do that");
    }
    const auto buffer = [&](const char* name, Index rows) {
      return append(graph_.buffers, graph_.buffer_elements, {path + name, 0, rows, width(), rows == 1 ? 1 : 2, false},
                    initializers::Zeros{});
    };
    GraphNormalization& normalization = graph_.normalization.emplace();
    normalization.layer = layer;
    normalization.shift = buffer(".shift", 1);
    normalization.scale = buffer(".scale", 1);
    normalization.rest = buffer(".shift_rest", 2);
    if (layer.missing == MissingValues::mean) normalization.missing = buffer(".missing", 1);
  }

  Node& add_normalization(NodeKind kind, const std::string& path, double eps, bool trainable) {
    Node& node = add_node(kind, width(), last());
    node.eps = eps;
    node.trainable = trainable_ && trainable;
    node.weight = add_parameter(path + ".gamma", 1, node.out_features, 1, false, initializers::Ones{});
    node.bias = add_parameter(path + ".beta", 1, node.out_features, 1, false, initializers::Zeros{});
    return node;
  }

  void add(const Dropout& layer, const Layers&, std::size_t, const std::string&) {
    if (layer.rate > 0.0) add_node(NodeKind::dropout, width(), last()).rate = layer.rate;
  }

  void add(const Residual& block, const Layers&, std::size_t, const std::string& path) {
    if (block.layers.empty()) {
      throw_value_error("Residual", "layer " + path + " has no layers", "expected at least one",
                        "give the layers of f in output = input + f(input)");
    }
    const int skipped = last();
    const bool outer = std::exchange(trainable_, trainable_ && block.trainable);
    add_layers(block.layers, path + ".");
    const int branch = last();
    const Index in = graph_.nodes[static_cast<std::size_t>(skipped)].out_features, out = width();
    int other = skipped;
    if (in != out) {
      add_dense(skipped, out, path + ".projection", initializers::GlorotUniform{}, nullptr, true);
      other = last();
    }
    trainable_ = outer;
    add_node(NodeKind::add, out, other).other = branch;
  }

  void count_consumers() {
    for (const Node& node : graph_.nodes) {
      for (const int read : {node.input, node.other}) {
        if (read != kNone) ++graph_.nodes[static_cast<std::size_t>(read)].consumers;
      }
    }
  }

  // What is left of the alternatives of Layer: the activations.
  template <class ActivationLayer>
  void add(const ActivationLayer& layer, const Layers&, std::size_t, const std::string&) {
    if (kind_of(Activation(layer)) != kind_of<Identity>()) add_activation(layer);
  }

  const ModelConfig& config_;
  const Index alignment_;
  bool trainable_ = true;  // false within a Residual that is not
  Factors factors_;        // of the layer that is added
  Graph graph_;
};

}  // namespace

bool has_node(const Graph& graph, NodeKind kind) {
  return std::any_of(graph.nodes.begin(), graph.nodes.end(), [kind](const Node& node) { return node.kind == kind; });
}

MissingValues missing_values(const Graph& graph) {
  return graph.normalization ? graph.normalization->layer.missing : MissingValues::error;
}

Graph build_graph(const ModelConfig& config, Index alignment) { return GraphBuilder(config, alignment).build(); }

}  // namespace stoop
