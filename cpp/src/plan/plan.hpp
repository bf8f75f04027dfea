// What a training or inference step does, as plain data without arithmetic or element type: buffers in one arena and an
// ordered list of steps over them. build.cpp makes a plan once per (model, loss, batch size), execute.cpp walks it.
#pragma once

#include <span>
#include <string>
#include <vector>

#include <stoop/layers.hpp>
#include <stoop/losses.hpp>
#include <stoop/model.hpp>

#include "../ops/ops.hpp"

namespace stoop {

enum class PlanKind {
  inference,   // outputs of rows that each thread takes on its own
  evaluation,  // the same, then the loss
  training,    // each parameter is updated as soon as its gradient is there
  checked,     // all gradients first, then a check of their norm, then the updates
  gradient,    // gradients only
};

enum class StepKind {
  gather,               // rows of X -> output buffer
  gather_targets,       // rows of y -> the target buffer
  dense,                // output = f(input @ weight + bias)
  activation,           // output = f(input)
  loss,                 // value, and the gradient where wanted
  check_loss,           // every thread adds the partial losses and stops at a non-finite one
  activation_gradient,  // output *= f'(.), f' from `gate`
  input_gradient,       // output = input @ weight^T, then *= f'(.) of the node before, from `gate`
  weight_gradient,      // input^T @ output-gradient, then what `after` says
  bias_gradient,        // column sums of the output gradient, then what `after` says
  check_gradient,       // every thread adds the partial norms and stops at a non-finite one
  update_weight,        // the optimizer on a parameter whose gradient is complete
};

// How a step is divided. A block is a property of the plan, so that sums are cut alike for any number of threads.
enum class Cut {
  batch_rows,  // kRowBlock rows of the batch
  parameter,   // `block` rows of the weight, or columns of the bias
  everyone,    // not divided: each thread does all of it
};
inline constexpr Index kRowBlock = 8;

// What follows a parameter's gradient, block by block, while it is in cache.
enum class After { nothing, regularize, update };

// Rows x width elements in the arena; x, y and the outputs of an inference are external.
struct Buffer {
  std::string name;
  Index width = 0;
  Index element_size = 0;
  Index stride = 0;  // elements from one row to the next
  int first = 0;     // the buffer is alive in the time units [first, last]
  int last = 0;
  Index offset = 0;  // bytes
  bool external = false;
};

inline constexpr int kNone = -1;

struct Step {
  StepKind kind = StepKind::gather;
  Cut cut = Cut::batch_rows;
  bool barrier = false;  // all threads must have finished all that is before
  int input = kNone;     // buffers
  int output = kNone;
  int gate = kNone;
  Index in_features = 0;
  Index out_features = 0;
  Index weight = kNone;  // offset of the parameter in elements
  Index bias = kNone;
  ActivationKind activation = ActivationKind::identity;
  double activation_parameter = 0.0;
  GemmProvider provider = GemmProvider::native;
  // ---- Cut::parameter ----
  Index extent = 0;  // rows of the weight or columns of the bias
  Index block = 0;
  Index row_elements = 1;  // parameter elements per unit of extent
  bool regularized = false;
  After after = After::nothing;
  Index first_sum = 0;  // slot of block 0 in the sums of squares
};

struct Plan {
  PlanKind kind = PlanKind::inference;
  LossKind loss = LossKind::mse;
  Index batch = 0;  // the most rows a run may have
  Index output_dim = 0;
  std::vector<Buffer> buffers;
  std::vector<Step> steps;
  int input_buffer = kNone;   // what the first layer reads
  int output_buffer = kNone;  // what the last layer writes
  int target_buffer = kNone;
  int loss_gradient_buffer = kNone;
  Index arena_bytes = 0;
  Index sum_slots = 0;       // sums of squares, one per parameter block
  Index block_elements = 0;  // the largest parameter block
  double flops = 0.0;        // of the matrix products of a full batch
};

struct PlanRequest {
  PlanKind kind = PlanKind::inference;
  const ModelConfig* model = nullptr;
  std::span<const ParameterInfo> parameters;
  LossKind loss = LossKind::mse;
  Index batch = 0;
  Index element_size = sizeof(float);
  GemmProvider provider = GemmProvider::native;
};

Plan build_plan(const PlanRequest& request);

// Gives each buffer that is not external an offset, so that no two alive at the same time overlap; returns the bytes.
Index layout_arena(std::span<Buffer> buffers, Index rows);

inline Index block_count(Index extent, Index block) { return (extent + block - 1) / block; }

// The plan as text, one line a buffer and a step; the golden tests compare it.
std::string describe(const Plan& plan);

}  // namespace stoop
