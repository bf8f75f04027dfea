// Model<T>: layers plus their parameters in one aligned block, and what can be done with them without training.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <stoop/error.hpp>
#include <stoop/input.hpp>
#include <stoop/layers.hpp>
#include <stoop/types.hpp>

namespace stoop {

struct ModelConfig {
  Index input_dim = 0;
  std::vector<Layer> layers;
  std::uint64_t seed = 0;
  // What the first layer sees of an input x, of whatever type: x * input_scale + input_shift, rounded once to the element
  // type, as are the two numbers. 1/255 and 0 make bytes numbers from 0 to 1.
  double input_scale = 1.0;
  double input_shift = 0.0;
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
class Model {
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

  // Outputs of the network in inference mode: x (n, input_dim) -> out (n, output_dim). Reentrant. Interrupted: `out` holds
  // some of them.
  void predict(const InputView& x, MatrixView<T> out, const KeepGoing& keep_going = {}) const;

  // safetensors with the architecture as JSON in the metadata. A failed or interrupted save leaves the old file.
  void save(const std::filesystem::path& path, const KeepGoing& keep_going = {}) const;
  static Model load(const std::filesystem::path& path, const KeepGoing& keep_going = {});

 private:
  // With all parameters zero, for those who set them.
  static Model without_values(ModelConfig config);

  struct Impl;
  explicit Model(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
  template <class>
  friend class Trainer;
};

// The element type a model file holds.
DType file_dtype(const std::filesystem::path& path);

extern template class Model<float>;
extern template class Model<double>;

}  // namespace stoop
