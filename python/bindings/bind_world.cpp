// The processes that train one model together.
#include <cstdint>
#include <string>

#include "bindings.hpp"
#include "world_handle.hpp"

namespace stoop::python {
namespace {

void decline(const WorldHandle& self, const std::string& where, const std::string& reason) {
  const ReleasedGil released;
  stoop::decline(self.get(), where, reason);
}

void check_alike(const WorldHandle& self, const std::string& where, std::uint64_t state) {
  const ReleasedGil released;
  stoop::check_alike(self.get(), where, state);
}

}  // namespace

void bind_world(py::module_& m) {
  py::class_<WorldHandle>(m, "World")
      .def(py::init<int, int, int, py::object, py::object>(), py::arg("shards"), py::arg("rank"), py::arg("size"),
           py::arg("allgather"), py::arg("alltoall"))
      .def_property_readonly("calls", &WorldHandle::calls)
      .def("check_alike", &check_alike, py::arg("where"), py::arg("state"))
      .def("decline", &decline, py::arg("where"), py::arg("reason"));
}

}  // namespace stoop::python
