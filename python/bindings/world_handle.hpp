// The processes of a training as Python holds them: a communicator of mpi4py, whose functions move the bytes.
#pragma once

#include <atomic>

#include <pybind11/pybind11.h>

#include <stoop/world.hpp>

#include "gil.hpp"

namespace stoop::python {

namespace py = pybind11;

class WorldHandle {
 public:
  // `allgather` and `alltoall` take two buffers. They are functions of C, so that no signal of Python comes in before they
  // have met the other processes.
  WorldHandle(int shards, int rank, int size, py::object allgather, py::object alltoall)
      : allgather_(std::move(allgather)),
        alltoall_(std::move(alltoall)),
        world_{shards, {this, rank, size, &WorldHandle::gather, &WorldHandle::exchange}} {}
  WorldHandle(const WorldHandle&) = delete;
  WorldHandle& operator=(const WorldHandle&) = delete;

  const World& get() const { return world_; }
  Index calls() const { return calls_; }  // of the functions, so far

 private:
  static int gather(void* context, const void* send, void* receive, Index bytes) {
    auto& self = *static_cast<WorldHandle*>(context);
    ++self.calls_;
    const Index size = self.world_.collectives.size;
    return call(self.allgather_, view(send, bytes, bytes), view(receive, bytes * size, bytes));
  }

  static int exchange(void* context, const void* send, void* receive, Index bytes) {
    auto& self = *static_cast<WorldHandle*>(context);
    ++self.calls_;
    const Index all = bytes * self.world_.collectives.size;
    return call(self.alltoall_, view(send, all, bytes), view(receive, all, bytes));
  }

  // Memory for mpi4py; the GIL is taken when it makes an object of it.
  struct Buffer {
    void* data;
    Index bytes;
    bool has_doubles;  // larger units, since some libraries count no further than 2^31

    py::memoryview object() const {
      if (!has_doubles) return py::memoryview::from_memory(data, bytes);
      return py::memoryview::from_buffer(data, 8, "d", {bytes / 8}, {8});
    }
  };
  static Buffer view(const void* data, Index bytes, Index bytes_of_rank) {
    return {const_cast<void*>(data), bytes, bytes_of_rank % 8 == 0};
  }

  static int call(const py::object& function, const Buffer& send, const Buffer& receive) noexcept {
    const HeldGil held;
    try {
      call_python(function, send.object(), receive.object());
      return 0;
    } catch (py::error_already_set& error) {
      error.discard_as_unraisable("a collective of MPI");
    } catch (const std::exception&) {
    }
    return 1;
  }

  const py::object allgather_, alltoall_;
  const World world_;
  std::atomic<Index> calls_ = 0;
};

}  // namespace stoop::python
