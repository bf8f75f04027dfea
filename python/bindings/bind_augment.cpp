// The settings of an augmentation, what it makes of samples, and, for tests, what it draws.
#include <cstdint>
#include <optional>

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <stoop/augment.hpp>

#include "bindings.hpp"
#include "gil.hpp"
#include "numpy_view.hpp"

namespace stoop::python {
namespace {

constexpr const char* kWhere = "augment";

Augment settings_of(const py::kwargs& given) {
  Augment out;
  const auto set = [&given]<class Member>(const char* key, Member& member) { member = given[key].cast<Member>(); };
  set("height", out.height);
  set("width", out.width);
  set("channels", out.channels);
  set("flip_across", out.flip_across);
  set("flip_down", out.flip_down);
  set("shift", out.shift);
  set("whole_pixels", out.whole_pixels);
  set("rotate", out.rotate);
  set("zoom", out.zoom);
  set("shear", out.shear);
  set("crop", out.crop);
  set("elastic", out.elastic);
  set("elastic_sigma", out.elastic_sigma);
  set("noise", out.noise);
  set("mixup", out.mixup);
  set("seed", out.seed);
  set("fill", out.fill);
  check_augment("Augment", out);
  return out;
}

// Writes to `out`, and where targets are wanted to `targets`, (n, columns).
template <class T>
void augment_rows(const Augment& settings, const py::array& x, Array<T> out, Index epoch,
                  const std::optional<py::array>& y, std::optional<Array<T>> targets) {
  const InputView input = input_view(kWhere, x);
  const Pin pin(x);
  std::optional<TargetsView<T>> given;
  MatrixView<T> to{};
  if (y && targets) {
    given.emplace(kWhere, *y);
    to = {targets->mutable_data(), targets->shape(0), targets->shape(1)};
  }
  const MatrixView<T> rows{out.mutable_data(), out.shape(0), out.shape(1)};
  const ReleasedGil released;
  augment<T>(settings, input, rows, epoch, 0, given ? given->get() : Targets<T>{}, to);
}

// Returns the draws of a sample by name; angles are in radians.
py::dict draws(const Augment& settings, std::uint64_t seed, Index epoch, Index position, Index samples) {
  const AugmentPlace place{settings.seed.value_or(seed), epoch, position};
  const GeometryDraw drawn = draw_geometry(settings, place);
  py::dict out;
  out["flip_across"] = drawn.flip_across;
  out["flip_down"] = drawn.flip_down;
  out["shift"] = py::make_tuple(drawn.down, drawn.across);
  out["angle"] = drawn.angle;
  out["shear"] = drawn.shear;
  out["zoom"] = drawn.zoom;
  out["corner"] = py::make_tuple(drawn.top, drawn.left);
  if (settings.mixup > 0.0) {
    const MixDraw mix = draw_mix(settings, place, samples);
    out["share"] = mix.share;
    out["partner"] = mix.partner;
  }
  return out;
}

}  // namespace

void bind_augment(py::module_& m) {
  py::class_<Augment>(m, "Augment").def(py::init(&settings_of));
  const auto bind = [&m]<class T>(T) {
    m.def("augment", &augment_rows<T>, py::arg("settings"), py::arg("x"), py::arg("out").noconvert(), py::arg("epoch"),
          py::arg("y"), py::arg("targets").noconvert());
  };
  bind(float());
  bind(double());
  m.def("augment_draws", &draws, py::arg("settings"), py::arg("seed"), py::arg("epoch"), py::arg("position"),
        py::arg("samples"));
}

}  // namespace stoop::python
