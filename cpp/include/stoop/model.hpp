// Model<T>: layers plus their parameters in one aligned block, and what can be done with them without training.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <stoop/error.hpp>
#include <stoop/input.hpp>
#include <stoop/layers.hpp>
#include <stoop/losses.hpp>
#include <stoop/types.hpp>

namespace stoop {

// The names of the classes in the order of the outputs; two for one output, of which it says how likely the second is.
// All are text here. `dtype` says as what they are given back by those who have types for it, as Python has: "str",
// "object" (strings), "bool" ("False", "True"), NumPy's integers ("int64", ...), "float32" and "float64" (whole numbers).
struct ClassNames {
  std::vector<std::string> names;
  std::string dtype = "str";
  bool operator==(const ClassNames&) const = default;
};

template <class T>
class Model;
class TensorFile;

// The model of a file, of the element type that the file holds. FileError when it cannot be read; CheckpointError when it
// is damaged or no model file.
STOOP_API std::variant<Model<float>, Model<double>> load_model(const std::filesystem::path& path,
                                                               const KeepGoing& keep_going = {});

struct ModelConfig {
  Index input_dim = 0;
  std::vector<Layer> layers;
  std::uint64_t seed = 0;
  // What the first layer sees of an input x, of whatever type: x * input_scale + input_shift, rounded once to the element
  // type, as are the two numbers. 1/255 and 0 make bytes numbers from 0 to 1.
  double input_scale = 1.0;
  double input_shift = 0.0;
  // Nothing here says that the output is not known yet: training sets it from its loss.
  std::optional<OutputKind> output{};
  std::optional<ClassNames> classes{};
};

// One named parameter inside the block: weight is (rows, cols), a bias has rows = 1 and rank 1.
struct ParameterInfo {
  std::string name;  // "<layer index>.weight", ".bias", ".gamma", ".beta"; "<index>.<index>.weight" inside a Residual
  Index offset = 0;  // elements from the start of the block, a multiple of 64 bytes
  Index rows = 1;
  Index cols = 0;
  int rank = 1;
  bool regularized = false;  // weights of Dense are; biases, gamma and beta are not
};

template <class T>
class STOOP_API Model {
 public:
  // Builds the layers and draws the parameters. Throws ValueError for an empty or ill-formed config.
  explicit Model(ModelConfig config);
  Model(const Model& other);
  Model(Model&& other) noexcept;
  Model& operator=(Model other) noexcept;
  ~Model();

  Index input_dim() const;
  Index output_dim() const;
  Index num_parameters() const;
  const ModelConfig& config() const;

  const std::vector<ParameterInfo>& parameter_infos() const;
  std::span<T> parameter_block();              // all parameters, padding included
  std::span<const T> parameter_block() const;  // (padding stays zero)
  MatrixView<T> parameter(std::string_view name);
  MatrixView<const T> parameter(std::string_view name) const;

  // "<layer index>.running_mean" and ".running_var" of the BatchNorm layers, in a block of their own.
  const std::vector<ParameterInfo>& buffer_infos() const;
  std::span<T> buffer_block();
  std::span<const T> buffer_block() const;

  // Both are part of config() and of the file; `output` given here or in the config is kept by training. ValueError for
  // a softmax of one output, or names that do not fit the outputs.
  void set_output(std::optional<OutputKind> output);
  void set_classes(std::optional<ClassNames> classes);
  // For who trains: sets the output unless it was given.
  void set_output_by_training(OutputKind output);
  bool output_is_given() const;

  // Outputs of the network in inference mode: x (n, input_dim) -> out (n, output_dim). Reentrant. Interrupted: `out` holds
  // some of them.
  void predict(const InputView& x, MatrixView<T> out, const KeepGoing& keep_going = {}) const;

  // safetensors with the architecture as JSON in the metadata. A failed or interrupted save leaves the old file; one that is
  // read-only is refused (FileError), others keep their mode and, where the process may give files away, their owner.
  void save(const std::filesystem::path& path, const KeepGoing& keep_going = {}) const;
  static Model load(const std::filesystem::path& path, const KeepGoing& keep_going = {});

 private:
  // With all parameters zero, for those who set them.
  STOOP_PRIVATE static Model without_values(ModelConfig config);
  STOOP_PRIVATE static Model read(const TensorFile& file);
  friend std::variant<Model<float>, Model<double>> load_model(const std::filesystem::path&, const KeepGoing&);

  struct STOOP_PRIVATE Impl;
  STOOP_PRIVATE explicit Model(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
  template <class>
  friend class Trainer;
};

// The element type a model file holds.
STOOP_API DType file_dtype(const std::filesystem::path& path);

extern template class Model<float>;
extern template class Model<double>;

}  // namespace stoop
