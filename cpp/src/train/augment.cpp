// The augmentation of a fit, and `augment`, which shows what it does.

#include <stoop/augment.hpp>

#include <algorithm>
#include <atomic>
#include <string>

#include "fit_run.hpp"
#include "../data/checks.hpp"
#include "../run/device.hpp"
#include "../run/row_augmenter.hpp"
#include "../team/team.hpp"

namespace stoop::inline v0_1 {
namespace {

constexpr const char* kAugment = "augment";

void check_options(std::string_view where, Index epoch) {
  if (epoch >= 0) return;
  throw_value_error(where, "epoch=" + std::to_string(epoch), "expected at least 0", "0 is the first");
}

// Checks targets and returns them in the form that a run reads.
template <class T>
SampleRows<T> checked_rows(const InputView& x, const Targets<T>& y, const MatrixView<T>& targets) {
  InputView read = x;
  read.mapped = false;  // all of it is read here
  check_samples<T>(kAugment, read, x.cols);
  SampleRows<T> rows;
  rows.x = with_stride(x);
  if (targets.data == nullptr) return rows;
  const LossKind loss = y.has_values ? kind_of<MeanSquaredError>() : kind_of<SoftmaxCrossEntropy>();
  check_targets(kAugment, y, loss, x.rows, targets.cols);
  check_view(kAugment, "targets", targets, x.rows, targets.cols);
  rows.classes = y.has_values ? nullptr : y.classes.data();
  rows.values = with_stride(y.values);
  return rows;
}

template <class T>
void write_targets(const AugmentedRows<T>& rows, const SampleRows<T>& data, Index i, T* out) {
  std::atomic<Index> bad{kNone};
  if (rows.mixes()) return TargetMixer<T>(rows, data).write(i, out, bad);
  if (data.classes == nullptr) {
    std::copy_n(data.values.data + i * data.values.stride, rows.target_columns, out);
    return;
  }
  std::fill_n(out, rows.target_columns, T(0));
  out[data.classes[i]] = T(1);
}

}  // namespace

template <class T>
void check_fit_augment(std::string_view where, const Augment& settings, const Dataset<T>& data, bool full_batch) {
  check_augment(where, settings);
  check_augmented_rows(where, settings, data.x().cols);
  const Targets<T>& y = data.y();
  const bool has_weights = !y.weights.empty() || y.element_weights.data != nullptr;
  if (settings.mixup > 0.0) check_mixed_targets(where, data.needs().loss, has_weights);
  if (data.needs().columns != nullptr) {
    throw_value_error(where, "augment with a Columns layer", "expected rows of numbers that may be changed a little",
                      "leave augment out: codes and encodings have no neighbours");
  }
  if (!full_batch) return;
  throw_value_error(where, "augment with an optimizer of all samples at once",
                    "expected one of mini-batches, since each evaluation would see other samples",
                    "use Adam or SGD, or train on a copy that `augment` made");
}

template <class T>
void augment(const Augment& settings, const InputView& x, MatrixView<T> out, Index epoch, std::uint64_t seed,
             const Targets<T>& y, MatrixView<T> targets) {
  check_augment(kAugment, settings);
  check_options(kAugment, epoch);
  check_augmented_rows(kAugment, settings, x.cols);
  const SampleRows<T> data = checked_rows(x, y, targets);
  check_view(kAugment, "out", out, x.rows, x.cols);
  const Augmentation<T> how(settings, seed);
  const AugmentedRows<T> rows{.how = &how, .epoch = epoch, .samples = x.rows, .target_columns = targets.cols};
  const Device<T> device = make_device<T>();
  const Index scratch = RowAugmenter<T>::scratch_elements(how, x.cols);
  const int threads = threads_for_elements(x.rows * x.cols, get_num_threads());
  AlignedBuffer<T> memory(scratch * threads);
  run_shares(threads, [&](int number, int shares) {
    const RowAugmenter<T> augmenter(device.ops, rows, data.x, memory.data() + number * scratch);
    const Range own = share(x.rows, number, shares);
    for (Index i = own.begin; i < own.end; ++i) {
      augmenter.write(i, out.data + i * out.row_stride());
      if (targets.data != nullptr) write_targets(rows, data, i, targets.data + i * targets.row_stride());
    }
  });
}

template void check_fit_augment(std::string_view, const Augment&, const Dataset<float>&, bool);
template void check_fit_augment(std::string_view, const Augment&, const Dataset<double>&, bool);
template void augment(const Augment&, const InputView&, MatrixView<float>, Index, std::uint64_t, const Targets<float>&,
                      MatrixView<float>);
template void augment(const Augment&, const InputView&, MatrixView<double>, Index, std::uint64_t,
                      const Targets<double>&, MatrixView<double>);

}  // namespace stoop
