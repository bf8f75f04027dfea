// Model<T>: layers with their parameters in one aligned block; prediction and files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
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

namespace stoop::inline v0_1 {

// The names of the classes in the order of the outputs. A single output has two classes; it gives the probability of the
// second. Names are text here. `dtype` is the type in which Python gives them back: "str", "object" (strings), "bool"
// ("False", "True"), NumPy's integers ("int64", ...), "float32" or "float64" (whole numbers).
struct ClassNames {
  std::vector<std::string> names;
  std::string dtype = "str";
  bool operator==(const ClassNames&) const = default;
};

// Text in UTF-8, at most kMostMetadataBytes of names and texts together.
using Metadata = std::map<std::string, std::string>;
inline constexpr std::size_t kMostMetadataBytes = std::size_t{4} << 20;

template <class T>
class Model;
struct FilePart;
template <class T>
class InferenceExecutor;
template <class T>
struct InferenceRun;
template <class T>
struct StripWeights;

// Loads a model with the element type that the file holds. Throws FileError if the file cannot be read, and
// CheckpointError if it is damaged or is no model file.
STOOP_API std::variant<Model<float>, Model<double>> load_model(const std::filesystem::path& path,
                                                               const KeepGoing& keep_going = {});

struct ModelConfig {
  Index input_dim = 0;
  std::vector<Layer> layers;
  std::uint64_t seed = 0;
  // The first layer sees x * input_scale + input_shift, whatever the type of x. The two numbers and the result are each
  // rounded once to the element type. 1/255 and 0 turn bytes into numbers from 0 to 1.
  double input_scale = 1.0;
  double input_shift = 0.0;
  // If this is empty, training sets the meaning of the outputs from its loss.
  std::optional<OutputKind> output{};
  std::optional<ClassNames> classes{};
  // Texts by name that the library keeps, and uses for nothing: what a program wants to find in the file again.
  Metadata metadata{};
};

// One named parameter inside the block. A weight is (rows, cols); a bias has rows = 1 and rank 1. The weights of a MemberDense are
// one parameter (members, rows / members, cols) of rank 3.
struct ParameterInfo {
  std::string name;  // "<layer index>.weight", ".bias", ".gamma", ".beta"; "<index>.<index>.weight" inside a Residual
  Index offset = 0;  // elements from the start of the block, a multiple of 64 bytes
  Index rows = 1;
  Index cols = 0;
  int rank = 1;
  bool regularized = false;  // true for the weights of Dense and MemberDense, false for biases, scales, gamma and beta
  Index members = 1;         // of rank 3
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
  Index members() const;  // that the last layer has, 1 without Members; what is predicted is what they say together
  Index num_parameters() const;
  const ModelConfig& config() const;

  const std::vector<ParameterInfo>& parameter_infos() const;
  std::span<T> parameter_block();  // all parameters; the padding between them is zero and stays so
  std::span<const T> parameter_block() const;
  MatrixView<T> parameter(std::string_view name);
  MatrixView<const T> parameter(std::string_view name) const;

  // The running statistics of the BatchNorm layers, "<layer index>.running_mean" and ".running_var", and the statistics of
  // a Normalization have a block of their own.
  const std::vector<ParameterInfo>& buffer_infos() const;
  std::span<T> buffer_block();
  std::span<const T> buffer_block() const;

  // All three are part of config() and of the file. Training keeps an `output` that was given here or in the config. Throws
  // ValueError for a softmax of one output, for names that do not fit the outputs, and for too much metadata. They may be
  // called while other threads predict with the model, save it, copy it, or call output() and config_now().
  void set_output(std::optional<OutputKind> output);
  void set_classes(std::optional<ClassNames> classes);
  void set_metadata(Metadata metadata);
  // Training calls this. It sets the output unless the output was given.
  void set_output_by_training(OutputKind output);
  bool output_is_given() const;
  std::optional<OutputKind> output() const;
  // Returns a copy of config(). The reference that config() returns must not be read while another thread sets one of these.
  ModelConfig config_now() const;

  // Sets the statistics of the Normalization from these rows, which may be in a mapped file. Trainer::fit does so from its
  // training rows if nobody has. Throws ValueError if there is no such layer, for what is not finite, and for columns
  // without numbers or with a spread that T does not hold. Nothing is changed then.
  void adapt(const InputView& x, const KeepGoing& keep_going = {});
  // Whether it has statistics, or needs none. Without them the calls below throw ValueError.
  bool is_adapted() const;

  // Computes the outputs of the network in inference mode: x (n, input_dim) -> out (n, output_dim). Several threads may
  // call it at the same time. If it throws Interrupted, `out` holds some of the outputs. This call uses at most
  // `most_threads` threads, or get_num_threads() if it is 0; the outputs do not depend on it.
  void predict(const InputView& x, MatrixView<T> out, const KeepGoing& keep_going = {}, int most_threads = 0) const;

  // Writes the gradient of sum(grad_output * outputs) with respect to x, in inference mode: grad_output (n, output_dim) ->
  // out (n, input_dim). Several threads may call it at the same time. Throws ValueError for what is not finite.
  void input_gradient(const InputView& x, MatrixView<const T> grad_output, MatrixView<T> out,
                      const KeepGoing& keep_going = {}) const;
  // Writes the derivative of each output with respect to each input, in inference mode, to `out`
  // (n, output_dim * input_dim): of one sample output after output, each with all inputs.
  void jacobian(const InputView& x, MatrixView<T> out, const KeepGoing& keep_going = {}) const;

  // Moves all parameters and buffers towards those of `source`: (1-tau)*own + tau*source; the statistics of a Normalization
  // become those of the source. Throws ValueError for a model
  // with other layers, or a tau outside [0, 1].
  void soft_update(const Model& source, double tau);

  // Writes safetensors with the architecture as JSON in the metadata. A failed or interrupted save leaves the old file as
  // it was. A read-only file is refused (FileError); others keep their mode and, where the process may set it, their owner.
  void save(const std::filesystem::path& path, const KeepGoing& keep_going = {}) const;
  static Model load(const std::filesystem::path& path, const KeepGoing& keep_going = {});

 private:
  // A model with all parameters zero, for functions that set them.
  STOOP_PRIVATE static Model without_values(ModelConfig config);
  template <class U>
  friend Model<U> read_part(const FilePart& part);

  // What takes rows through the layers, and how it is asked for those of x.
  STOOP_PRIVATE const InferenceExecutor<T>& inference() const;
  STOOP_PRIVATE InferenceRun<T> inference_run(const InputView& x) const;
  STOOP_PRIVATE void predict_rows(const char* where, const InputView& x, MatrixView<T> out, const KeepGoing& keep_going,
                                  int most_threads, const StripWeights<T>& strips) const;
  template <class>
  friend class MembersCall;
  template <class>
  friend class Predictor;

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
