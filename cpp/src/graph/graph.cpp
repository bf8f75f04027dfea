// Makes a Graph from a ModelConfig, and checks the numbers of every layer.

#include "graph.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include <stoop/error.hpp>

#include "../base/memory.hpp"
#include "../spec/fields.hpp"
#include "../spec/initializers.hpp"
#include "../spec/layers.hpp"
#include "columns.hpp"
#include "product_layers.hpp"

namespace stoop::inline v0_1 {
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
    graph_.nodes.reserve(1 + 2 * config_.layers.size());  // a Dense with an activation has two
    graph_.nodes.push_back(input);
    add_layers(config_.layers, "");
    const auto is_dense = [](const Node& node) {
      return node.kind == NodeKind::dense || node.kind == NodeKind::member_dense;
    };
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
    node.members = graph_.nodes[static_cast<std::size_t>(input)].members;
    node.out_features = out_features;
    node.factors = factors_;
    graph_.nodes.push_back(node);
    return graph_.nodes.back();
  }

  int add_parameter(std::string name, Index rows, Index cols, int rank, bool regularized, const Initializer& init) {
    return append(graph_.parameters, graph_.parameter_elements, {std::move(name), 0, rows, cols, rank, regularized},
                  init);
  }

  // A weight for each of some members, as one parameter.
  int add_weights(std::string name, Index members, Index rows, Index cols, const Initializer& init) {
    return append(graph_.parameters, graph_.parameter_elements,
                  {std::move(name), 0, members * rows, cols, 3, true, members}, init);
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
    block.push_back({std::move(info), init, {}, {}});
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
    check_product(dense, path);
    const Initializer kernel = dense.kernel_init.value_or(default_kernel_init(dense, layers, i));
    const Initializer* bias = has_bias(dense, layers, i) ? &dense.bias_init : nullptr;
    add_dense(last(), dense.units, path, kernel, bias, dense.trainable);
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

  // ---- members ----

  void add(const Members& layer, const Layers&, std::size_t, const std::string& path) {
    const bool is_first = members() == 1;
    if (!is_first && layer.k != members()) {
      throw_value_error("Members", "layer " + path + " has k=" + std::to_string(layer.k),
                        "expected " + std::to_string(members()) + ", the members that the value has there",
                        "give each Members of a model the same k");
    }
    const ScaleInit usual = is_first ? first_scale() : ScaleInit::random_signs;
    add_scale(path + ".scale", layer.k, 2, layer.init.value_or(usual), layer.trainable);
    const Initializer zeros = initializers::Zeros{};
    if (layer.bias) add_member_bias(path, zeros);
  }

  void add(const FeatureScale& layer, const Layers&, std::size_t, const std::string& path) {
    if (members() > 1) {
      throw_value_error("FeatureScale", "layer " + path + " comes after Members", "expected a value without members",
                        "put it before, or use Members(" + std::to_string(members()) + ", init=\"ones\")");
    }
    add_scale(path + ".scale", 1, 1, ScaleInit::ones, layer.trainable);
  }

  void add(const MemberDense& dense, const Layers& layers, std::size_t i, const std::string& path) {
    check_product(dense, path);
    const Index k = check_members(dense, path, members(), has_members_);
    const Initializer kernel = dense.kernel_init.value_or(default_kernel_init(dense, layers, i));
    const Initializer* bias = has_bias(dense, layers, i) ? &dense.bias_init : nullptr;
    if (dense.shared) {
      const ScaleInit usual = dense.members ? first_scale() : ScaleInit::ones;
      add_scale(path + ".input_scale", k, 2, dense.scale_init.value_or(usual), dense.trainable);
      add_dense(last(), dense.units, path, kernel, nullptr, dense.trainable);
      penalize(dense);
      add_scale(path + ".output_scale", k, 2, ScaleInit::ones, dense.trainable);
    } else {
      Node& node = add_node(NodeKind::member_dense, dense.units, last());
      node.members = k;
      node.trainable = trainable_ && dense.trainable;
      node.weight = add_weights(path + ".weight", k, node.in_features, dense.units, kernel);
      penalize(dense);
    }
    if (bias != nullptr) add_member_bias(path, *bias);
    if (kind_of(dense.activation) != kind_of<Identity>()) add_activation(dense.activation);
  }

  Index members() const { return graph_.nodes.back().members; }
  const std::vector<Index>& chunks() const { return graph_.nodes.back().chunks; }
  ScaleInit first_scale() const { return chunks().empty() ? ScaleInit::random_signs : ScaleInit::normal; }

  void add_scale(std::string name, Index k, int rank, ScaleInit init, bool trainable) {
    const std::vector<Index> same = chunks();
    Node& node = add_node(NodeKind::member_scale, width(), last());
    node.members = k;
    node.trainable = trainable_ && trainable;
    node.weight = add_parameter(std::move(name), k, node.out_features, rank, false, initializers::Ones{});
    graph_.parameters.back().scale = init;
    graph_.parameters.back().chunks = same;
    if (rank > 1) has_members_ = true;
  }

  void add_member_bias(const std::string& path, const Initializer& init) {
    Node& node = graph_.nodes.back();
    node.bias = add_parameter(path + ".bias", node.members, node.out_features, 2, false, init);
  }

  void penalize(const MemberDense& dense) {
    graph_.nodes.back().l1 = dense.l1;
    graph_.nodes.back().l2 = dense.l2;
    has_members_ = true;
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

  void add(const Normalization& layer, const Layers&, std::size_t, const std::string& path) {
    check_first("Normalization", path, "put it there, or use LayerNorm or BatchNorm between other layers");
    add_statistics(layer, path, initializers::Zeros{});
  }

  void check_first(const std::string& name, const std::string& path, std::string_view hint) const {
    if (path != "0") {
      throw_value_error("Model", "layer " + path + " is a " + name, "expected it to be the first layer", hint);
    }
    if (config_.input_scale != 1.0 || config_.input_shift != 0.0) {
      throw_value_error("Model", "input_scale or input_shift with a " + name, "expected one of them",
                        "leave input_scale and input_shift out: the statistics of the layer do that");
    }
  }

  int add_buffer(std::string name, Index rows, Index cols, const Initializer& init) {
    return append(graph_.buffers, graph_.buffer_elements, {std::move(name), 0, rows, cols, rows == 1 ? 1 : 2, false},
                  init);
  }

  // The scales are zero at first, so that one that is not 0 says that the statistics were set.
  void add_statistics(const Normalization& layer, const std::string& path, const Initializer& scales) {
    const initializers::Zeros zeros;
    GraphNormalization& normalization = graph_.normalization.emplace();
    normalization.layer = layer;
    normalization.shift = add_buffer(path + ".shift", 1, width(), zeros);
    normalization.scale = add_buffer(path + ".scale", 1, width(), scales);
    normalization.rest = add_buffer(path + ".shift_rest", 2, width(), zeros);
    if (layer.missing == MissingValues::mean) normalization.missing = add_buffer(path + ".missing", 1, width(), zeros);
  }

  // Without numbers there are no statistics that could be missing.
  void add(const Columns& layer, const Layers&, std::size_t, const std::string& path) {
    check_first("Columns", path, "put it there: it encodes the columns of X");
    GraphColumns& columns = graph_.columns.emplace(describe_columns(layer, config_.input_dim, path));
    const bool has_numbers = columns.has_numbers();
    add_statistics({.kind = layer.kind, .clip = layer.clip, .missing = MissingValues::mean}, path,
                   has_numbers ? Initializer(initializers::Zeros{}) : Initializer(initializers::Ones{}));
    Index bins = 0;
    for (const EncodedColumn& column : columns.columns) bins += column.bins;
    if (bins > 0) {
      columns.bin_left = add_buffer(path + ".bin_left", 1, bins, initializers::Zeros{});
      columns.bin_scale = add_buffer(path + ".bin_scale", 1, bins, initializers::Zeros{});
    }
    Node& node = add_node(NodeKind::columns, encoded_width(columns), last());
    if (node.out_features > node.in_features) {  // else each column stands for itself
      for (const EncodedColumn& column : columns.columns) node.chunks.push_back(column.width);
    }
    const Index dim = layer.embedding_dim;
    if (columns.table_rows > 0) {
      node.weight = add_parameter(path + ".embedding", columns.table_rows, dim, 2, true, uniform(dim));
    }
    if (columns.number_layers > 0) add_number_layers(node, columns, path);
    node.trainable = layer.trainable && columns.table_rows + columns.number_layers > 0;
  }

  static Initializer uniform(Index count) { return initializers::Uniform{1.0 / std::sqrt(static_cast<double>(count))}; }

  // A linear ladder starts as the linear layer of its number alone, as in the package rtdl_num_embeddings (version "B").
  void add_number_layers(Node& node, const GraphColumns& columns, const std::string& path) {
    const Columns& layer = columns.layer;
    const Index count = columns.number_layers, dim = layer.embedding_dim, waves = 2 * layer.frequencies;
    const bool is_periodic = layer.encoding == ColumnEncoding::periodic;
    node.others[0] = is_periodic ? add_parameter(path + ".frequencies", count, layer.frequencies, 2, false,
                                                 initializers::Normal{layer.frequency_scale})
                                 : add_parameter(path + ".linear", count, dim, 2, true, uniform(dim));
    if (columns.layer_rows > 0) {
      node.others[1] = add_parameter(path + ".weight", columns.layer_rows, dim, 2, true,
                                     is_periodic ? uniform(waves) : Initializer(initializers::Zeros{}));
    }
    node.others[2] = add_parameter(path + ".bias", count, dim, 2, false, uniform(is_periodic ? waves : dim));
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
    if (graph_.nodes[static_cast<std::size_t>(skipped)].members != members()) {
      throw_value_error("Residual", "layer " + path + " makes members within", "expected both sides to have the same",
                        "put Members, or what has members=, before the Residual");
    }
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
  Factors factors_;           // of the layer that is added
  bool trainable_ = true;     // false within a Residual that is not
  bool has_members_ = false;  // though it may be just one
  Graph graph_;
};

}  // namespace

bool has_node(const Graph& graph, NodeKind kind) {
  return std::any_of(graph.nodes.begin(), graph.nodes.end(), [kind](const Node& node) { return node.kind == kind; });
}

bool is_regularized(const Graph& graph, const Node& node) {
  return std::ranges::any_of(node.parameters(), [&](int parameter) {
    return parameter != kNone && graph.parameters[static_cast<std::size_t>(parameter)].info.regularized;
  });
}

MissingValues missing_values(const Graph& graph) {
  return graph.normalization ? graph.normalization->layer.missing : MissingValues::error;
}

Graph build_graph(const ModelConfig& config, Index alignment) { return GraphBuilder(config, alignment).build(); }

}  // namespace stoop
