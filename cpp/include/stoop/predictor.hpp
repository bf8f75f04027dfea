// Predictor<T>: a copy of a model, prepared for predicting a few rows at a time with the least delay.
#pragma once

#include <memory>

#include <stoop/model.hpp>

namespace stoop::inline v0_1 {

// A prediction of one row does little but read the weights. A Predictor keeps them in the order in which the threads read
// them, so that each thread finds its part in its own cache in the next call. It gives the bits of Model::predict and takes
// twice the memory of the model. It does not see later changes of the model: make a new one after training.
//
// Weights of 1 to 4 MB are tried in several places of the memory, and stay in the fastest. The constructor then predicts
// with get_num_threads() threads for some 20 ms, 50 at most, and takes 12 MB meanwhile.
template <class T>
class STOOP_API Predictor {
 public:
  explicit Predictor(const Model<T>& model);
  Predictor(const Predictor&) = delete;
  Predictor& operator=(const Predictor&) = delete;
  Predictor(Predictor&& other) noexcept;
  Predictor& operator=(Predictor&& other) noexcept;
  ~Predictor();

  // The copy of the model.
  const Model<T>& model() const;

  // Computes the outputs of the network in inference mode: x (n, input_dim) -> out (n, output_dim). Several threads may
  // call it at the same time. Up to 8 rows profit from the layout; more rows are predicted as Model::predict does.
  // keep_going may end it, as there.
  void predict(const InputView& x, MatrixView<T> out, const KeepGoing& keep_going = {}) const;

 private:
  struct STOOP_PRIVATE Impl;
  std::unique_ptr<Impl> impl_;
};

extern template class Predictor<float>;
extern template class Predictor<double>;

}  // namespace stoop
