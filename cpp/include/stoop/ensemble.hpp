// Ensemble<T>: several models that are asked together, and what their outputs say as a whole.
#pragma once

#include <filesystem>
#include <memory>
#include <string_view>
#include <variant>
#include <vector>

#include <stoop/model.hpp>

namespace stoop::inline v0_1 {

// Outputs of several members: (members, rows, cols) elements. A stride counts elements; 0: nothing lies between.
template <class T>
struct MemberOutputs {
  T* data = nullptr;
  Index members = 0;
  Index rows = 0;
  Index cols = 0;
  Index member_stride = 0;  // from the first row of a member to that of the next
  Index row_stride = 0;
};

// Models may differ in their layers, but take the same inputs and give outputs of one meaning. Several threads may predict at
// the same time, as with a Model. X is read and converted once for all members that scale it alike.
template <class T>
class STOOP_API Ensemble {
 public:
  // Throws ValueError if there is no model, or if input_dim, output_dim, output or classes differ; the message says where.
  explicit Ensemble(std::vector<Model<T>> members);
  // The members are those of others too, who may train them, or put other models of these sizes in their places, but not
  // during a call.
  explicit Ensemble(std::vector<std::shared_ptr<Model<T>>> members);
  Ensemble(const Ensemble&) = delete;  // a copy of what is shared would surprise
  Ensemble& operator=(const Ensemble&) = delete;
  Ensemble(Ensemble&& other) noexcept;
  Ensemble& operator=(Ensemble&& other) noexcept;
  ~Ensemble();

  Index size() const;
  Index input_dim() const;
  Index output_dim() const;
  Model<T>& operator[](Index i);
  const Model<T>& operator[](Index i) const;

  // Writes the outputs of each member, with the bits of its own predict: x (n, input_dim) -> out (size(), n, output_dim).
  void predict(const InputView& x, const MemberOutputs<T>& out, const KeepGoing& keep_going = {}) const;

  // The next three write means over the members, with equal weights. A `deviation` with memory gets the standard deviation
  // sqrt(sum((value - mean)^2) / size()), of the same shape.

  // The mean of the outputs, (n, output_dim).
  void predict_mean(const InputView& x, MatrixView<T> mean, MatrixView<T> deviation = {},
                    const KeepGoing& keep_going = {}) const;
  // The mean of the probabilities, (n, probability_columns()): of a softmax, or of the sigmoid of each column. Without an
  // output, several columns are a softmax and one is a sigmoid. Throws ValueError for an output of `identity`.
  void predict_proba(const InputView& x, MatrixView<T> mean, MatrixView<T> deviation = {},
                     const KeepGoing& keep_going = {}) const;
  // 2 for a sigmoid of one output: the first and the second class. Otherwise output_dim().
  Index probability_columns() const;
  // For members that were trained with GaussianNLL: mean and variance of the mixture of their distributions, each
  // (n, output_dim / 2). The variance is the mean of variance_i + (mean_i - mean)^2; Lakshminarayanan, Pritzel & Blundell
  // 2017, section 2.4. Throws ValueError for an odd number of outputs, and for outputs that are no values.
  void predict_gaussian(const InputView& x, MatrixView<T> mean, MatrixView<T> variance,
                        const KeepGoing& keep_going = {}) const;

  // One file, as Model::save.
  void save(const std::filesystem::path& path, const KeepGoing& keep_going = {}) const;
  static Ensemble load(const std::filesystem::path& path, const KeepGoing& keep_going = {});

 private:
  STOOP_PRIVATE void check_sizes(std::string_view where) const;
  STOOP_PRIVATE void check_alike(std::string_view where) const;
  std::vector<std::shared_ptr<Model<T>>> members_;
};

// Loads an ensemble with the element type that the file holds. Throws FileError if the file cannot be read, and
// CheckpointError if it is damaged or holds no ensemble.
STOOP_API std::variant<Ensemble<float>, Ensemble<double>> load_ensemble(const std::filesystem::path& path,
                                                                        const KeepGoing& keep_going = {});

extern template class Ensemble<float>;
extern template class Ensemble<double>;

}  // namespace stoop
