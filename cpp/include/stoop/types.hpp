// Element types, and the matrix view that all other headers use.
// MatrixView is a bare aggregate so that the files compiled per instruction set can use it without inline functions.
#pragma once

#include <stoop/api.hpp>

#include <concepts>
#include <cstdint>
#include <type_traits>
#include <variant>

namespace stoop::inline v0_1 {

using Index = std::int64_t;

enum class DType { float32, float64 };

template <class T>
inline constexpr DType kDType = sizeof(T) == 4 ? DType::float32 : DType::float64;

// The element types of a matrix of samples. It need not be that of the model.
enum class InputType { float32, float64, uint8 };
inline constexpr int kInputTypeCount = 3;

template <class T>
inline constexpr InputType kInputType = sizeof(T) == 1   ? InputType::uint8
                                        : sizeof(T) == 4 ? InputType::float32
                                                         : InputType::float64;

// The place of an alternative in a variant; -1 where it is none.
template <class Op, class Variant>
inline constexpr int kIndexIn = -1;
template <class Op, class... Ops>
inline constexpr int kIndexIn<Op, std::variant<Ops...>> = [] {
  int index = -1, i = 0;
  ((std::is_same_v<Op, Ops> ? static_cast<void>(index = i) : void(), ++i), ...);
  return index;
}();

template <class Op, class Variant>
concept AlternativeOf = kIndexIn<Op, Variant> >= 0;

// A row-major matrix that somebody else owns. MatrixView<const float>{data, rows, cols} has contiguous rows.
template <class T>
struct MatrixView {
  T* data = nullptr;  // (rows, cols)
  Index rows = 0;
  Index cols = 0;
  Index stride = 0;  // elements from one row to the next, >= cols; 0: the rows are contiguous

  constexpr Index row_stride() const { return stride == 0 ? cols : stride; }

  // A writable view converts to a view of constant elements.
  template <class U>
    requires(std::same_as<U, const T> && !std::same_as<U, T>)
  constexpr operator MatrixView<U>() const {
    return {data, rows, cols, stride};
  }
};

// A view of `rows * cols` contiguous elements.
template <class T>
constexpr MatrixView<T> matrix(T* data, Index rows, Index cols) {
  return {data, rows, cols, cols};
}

}  // namespace stoop
