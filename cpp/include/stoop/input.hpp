// InputView: a row-major matrix of samples, of floats, doubles or bytes, which Trainer and Model read where it lies.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>

#include <stoop/types.hpp>

namespace stoop::inline v0_1 {

// Numbers of another type than the model's are rounded to the model's type, row by row, as they are copied into a batch.
// A byte is a number from 0 to 255. All numbers are then multiplied and shifted as ModelConfig says.
struct InputView {
  InputView() = default;
  InputView(const float* x, Index r, Index c, Index ld) : InputView(x, InputType::float32, r, c, ld) {}
  InputView(const double* x, Index r, Index c, Index ld) : InputView(x, InputType::float64, r, c, ld) {}
  InputView(const std::uint8_t* x, Index r, Index c, Index ld) : InputView(x, InputType::uint8, r, c, ld) {}
  template <class Element>
    requires(std::same_as<Element, float> || std::same_as<Element, double> || std::same_as<Element, std::uint8_t>)
  InputView(MatrixView<Element> x) : InputView(x.data, x.rows, x.cols, x.stride) {}
  template <class Element>
    requires(std::same_as<Element, float> || std::same_as<Element, double> || std::same_as<Element, std::uint8_t>)
  InputView(MatrixView<const Element> x) : InputView(x.data, x.rows, x.cols, x.stride) {}

  const void* data = nullptr;  // (rows, cols) elements of `type`
  InputType type = InputType::float32;
  Index rows = 0;
  Index cols = 0;
  Index stride = 0;  // elements from one row to the next, >= cols; 0: the rows are contiguous
  // The matrix is a file mapped into memory and may be larger than memory, so no pass over all of it is made before
  // training. Values are checked as their rows are read, and the system is asked early for the pages of the next rows.
  bool mapped = false;

  Index element_size() const { return type == InputType::uint8 ? 1 : type == InputType::float32 ? 4 : 8; }
  Index row_stride() const { return stride == 0 ? cols : stride; }
  const void* row(Index i) const { return static_cast<const std::byte*>(data) + i * row_stride() * element_size(); }

 private:
  InputView(const void* x, InputType of, Index r, Index c, Index ld)
      : data(x), type(of), rows(r), cols(c), stride(ld == 0 ? c : ld) {}
};

}  // namespace stoop
