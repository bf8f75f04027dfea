#include "fit_record.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include <stoop/error.hpp>

#include "../base/crc32.hpp"
#include "../base/path_text.hpp"
#include "../data/input_rows.hpp"

namespace stoop::inline v0_1 {
namespace {

constexpr Index kRows = 16;
constexpr Index kRowBytes = 4096;  // of a row at most

void refuse(const std::filesystem::path& path, const std::string& what, const std::string& written,
            const std::string& own, const char* hint) {
  throw_checkpoint_error(path_text(path), "it was written by a fit with " + what + " " + written,
                         "expected " + own + ", as in this call", hint);
}

std::string text_of(bool value) { return value ? "true" : "false"; }

}  // namespace

template <class T>
std::uint32_t checksum_of(const Dataset<T>& data) {
  Crc32 sum;
  const SampleRows<T> rows = data.as_they_lie();
  const Index bytes_of_element = rows.x.type == InputType::uint8 ? 1 : rows.x.type == InputType::float32 ? 4 : 8;
  const Index bytes = std::min(rows.x.cols * bytes_of_element, kRowBytes);
  const Index count = std::min(rows.x.rows, kRows);
  for (Index i = 0; i < count; ++i) {
    const Index row = rows.sample(count == 1 ? 0 : i * (rows.x.rows - 1) / (count - 1));
    sum.add(rows.x.row(row), static_cast<std::size_t>(bytes));
    if (rows.classes != nullptr) {
      const std::int32_t label = read_once(rows.classes[row]);
      sum.add(&label, sizeof label);
    } else {
      sum.add(rows.values.data + row * rows.values.stride, static_cast<std::size_t>(rows.values.cols) * sizeof(T));
    }
    if (rows.weights != nullptr) {
      const double weight = std::ldexp(rows.weights[row], data.weight_shift());
      sum.add(&weight, sizeof weight);
    }
    if (const MatrixView<const T>& weights = rows.element_weights; weights.data != nullptr) {
      sum.add(weights.data + row * weights.cols, static_cast<std::size_t>(weights.cols) * sizeof(T));
    }
  }
  return sum.value();
}

void check_record(const std::filesystem::path& path, const FitRecord& written, const FitRecord& own) {
  if (written.samples == 0) {
    throw_checkpoint_error(path_text(path), "it was written by a trainer that never fitted",
                           "expected one written by fit", "call load_checkpoint, then fit without resume");
  }
  const char* const same = "call fit as the script did that wrote it, or delete the file to start anew";
  if (written.samples != own.samples) {
    refuse(path, "another number of samples:", std::to_string(written.samples), std::to_string(own.samples), same);
  }
  if (written.batch_size != own.batch_size) {
    refuse(path, "batch_size", std::to_string(written.batch_size), std::to_string(own.batch_size), same);
  }
  if (written.shuffle != own.shuffle) refuse(path, "shuffle", text_of(written.shuffle), text_of(own.shuffle), same);
  if (written.last_batch != own.last_batch) {
    refuse(path, "last_batch", std::string(name_of(written.last_batch)), std::string(name_of(own.last_batch)), same);
  }
  if (written.augment != own.augment) {
    throw_checkpoint_error(path_text(path), "it was written by a fit with another augmentation, or with none",
                           "expected that of this call", same);
  }
  if (written.data != own.data) {
    throw_checkpoint_error(path_text(path), "it was written by a fit on other samples, targets or weights",
                           "expected those of this call", same);
  }
}

template std::uint32_t checksum_of(const Dataset<float>&);
template std::uint32_t checksum_of(const Dataset<double>&);

}  // namespace stoop
