// Predictor<T>: a model with its weights in strips.

#include <stoop/predictor.hpp>

#include <atomic>

#include "../base/memory.hpp"
#include "../run/executor.hpp"

namespace stoop::inline v0_1 {

template <class T>
struct Predictor<T>::Impl {
  Model<T> model;
  AlignedBuffer<T> strips;
  // Counts the calls. Every second call reads the strips from the last to the first: those that the call before has read
  // last are still in the cache, even if the part of a thread is somewhat larger than that.
  std::atomic<unsigned> calls{0};

  explicit Impl(const Model<T>& from) : model(from) {
    strips.reset(static_cast<Index>(from.parameter_block().size()));
    model.inference().copy_to_strips(from.parameter_block(), strips.data());
  }
};

template <class T>
Predictor<T>::Predictor(const Model<T>& model) : impl_(std::make_unique<Impl>(model)) {}
template <class T>
Predictor<T>::Predictor(Predictor&& other) noexcept = default;
template <class T>
Predictor<T>& Predictor<T>::operator=(Predictor&& other) noexcept = default;
template <class T>
Predictor<T>::~Predictor() = default;

template <class T>
const Model<T>& Predictor<T>::model() const {
  return impl_->model;
}

template <class T>
void Predictor<T>::predict(const InputView& x, MatrixView<T> out) const {
  const bool backwards = impl_->calls.fetch_add(1, std::memory_order_relaxed) % 2 != 0;
  impl_->model.predict_rows("Predictor.predict", x, out, {}, 0, {impl_->strips.data(), backwards});
}

template class Predictor<float>;
template class Predictor<double>;

}  // namespace stoop
