// Moves a model towards another one, as the target networks of reinforcement learning do: Lillicrap et al. 2015, "Continuous
// control with deep reinforcement learning", algorithm 1.

#include <algorithm>
#include <variant>

#include <stoop/error.hpp>
#include <stoop/model.hpp>

#include "../run/device.hpp"

namespace stoop::inline v0_1 {
namespace {

bool have_same_shapes(const std::vector<ParameterInfo>& a, const std::vector<ParameterInfo>& b) {
  return std::ranges::equal(a, b, [](const ParameterInfo& one, const ParameterInfo& other) {
    return one.name == other.name && one.rows == other.rows && one.cols == other.cols;
  });
}

// A weight of 1 - tau and one of exactly 1 less that: what has come to the source stays there.
template <class T>
void move(std::span<T> own, std::span<const T> source, double tau) {
  if (tau == 1.0) {
    std::ranges::copy(source, own.begin());
  } else if (tau > 0.0) {
    make_device<T>().ops.average(
        {static_cast<Index>(own.size()), own.data(), source.data(), static_cast<T>(1.0 - tau)});
  }
}

// Between two statistics of inputs there is nothing, least of all if one of the models has none yet.
template <class T>
void copy_statistics(Model<T>& own, const Model<T>& source) {
  for (const ParameterInfo& info : own.buffer_infos()) {
    if (!info.name.starts_with("0.")) continue;
    std::copy_n(source.buffer_block().data() + info.offset, info.rows * info.cols,
                own.buffer_block().data() + info.offset);
  }
}

}  // namespace

template <class T>
void Model<T>::soft_update(const Model& source, double tau) {
  constexpr const char* kWhere = "Model.soft_update";
  if (!(tau >= 0.0 && tau <= 1.0)) {
    throw_value_error(kWhere, "tau is " + number_text(tau), "expected 0 to 1", "0.005 is usual, 1 copies the source");
  }
  if (!have_same_shapes(parameter_infos(), source.parameter_infos()) ||
      !have_same_shapes(buffer_infos(), source.buffer_infos())) {
    throw_value_error(kWhere, "the source has other layers", "expected parameters of the same names and shapes",
                      "make one as a copy of the other");
  }
  move(parameter_block(), source.parameter_block(), tau);
  move(buffer_block(), source.buffer_block(), tau);
  const Layer& first = config().layers.front();
  const bool has_statistics = std::holds_alternative<Normalization>(first) || std::holds_alternative<Columns>(first);
  if (tau > 0.0 && has_statistics) copy_statistics(*this, source);
}

template void Model<float>::soft_update(const Model&, double);
template void Model<double>::soft_update(const Model&, double);

}  // namespace stoop
