// Scheduling: decides how the threads of the CPU do the operations of lower.hpp. It decides for each operation:
//
// The cut. Steps are divided by rows of the batch, so that a thread carries its rows from layer to layer. Products with a
// large weight are divided by columns. Steps that work element by element take the cut of what they read, and so does a batch
// normalisation, which finds the sums of all rows in groups.
//
// The epilogue. Operations that directly follow a product on its output are done while the tile is in registers or in cache.
// These are a dropout and the sums of a batch normalisation (which stay steps, but the product does them) and, in the backward
// pass, the derivative of an activation between them (which becomes part of the product).
//
// Barriers. A barrier stands before a step that reads or overwrites what another thread's share of an earlier step has written
// or read since the last barrier. With products by rows and no batch normalisation, a step of training has two.
//
// Providers: if the provider of a product depends on its shape, the shape in the whole batch decides, not that of a thread's
// share, so that a plan is the same for any number of threads.

#include <algorithm>
#include <map>
#include <span>

#include "../base/memory.hpp"
#include "hazards.hpp"
#include "lower.hpp"

namespace stoop::inline v0_1 {
namespace {

constexpr Index kVectorBlock = 64;

// A product of few rows reads its whole other operand for these rows alone. So the small blocks of a thread share one
// product, as long as the gradient stays in the second-level cache.
constexpr Index kGroupElements = 1 << 15;

// An element of a parameter takes an update as long as so many operations of a product.
constexpr double kFlopsOfElement = 16.0;

// Returns the rows of a weight per block. There are about 16 blocks, so that several threads share evenly. A block has whole
// tiles of a micro-kernel, and at most half a megabyte, so that the update finds its gradient in cache.
Index weight_block(Index in_features, Index out_features) {
  constexpr Index kBlocks = 16, kMostElements = 1 << 17;
  const Index tile = in_features >= 32 ? 8 : 4;
  const Index even = round_up(block_count(in_features, kBlocks), tile);
  const Index most = std::max(tile, kMostElements / out_features / tile * tile);
  return std::min({even, most, in_features});
}

// Each block of a table goes through all codes of a batch, however many rows it has.
Index sparse_block(Index rows) {
  constexpr Index kBlocks = 16;
  return block_count(rows, kBlocks);
}

class Scheduler {
 public:
  Scheduler(const PlanRequest& request, Plan& plan)
      : request_(request), plan_(plan), cuts_(plan.buffers.size(), Cut::rows) {}

  void run(std::span<const Operation> operations) {
    for (std::size_t i = 0; i < operations.size();) i += add(operations.subspan(i));
  }

 private:
  static std::size_t index(int i) { return static_cast<std::size_t>(i); }
  bool trains() const { return stoop::trains(request_.kind); }

  // Adds the first of the operations, with those that it does in its epilogue. Returns how many it has added.
  std::size_t add(std::span<const Operation> operations) {
    Step step = start(operations[0]);
    std::vector<Step> taken;
    const std::size_t count = 1 + take(step, operations.subspan(1), taken);
    std::vector<Access> accesses;
    add_accesses(step, accesses);
    for (const Step& other : taken) add_accesses(other, accesses);
    step.barrier = needs_barrier(step, accesses);
    append(step);
    for (const Step& other : taken) append(other);
    return count;
  }

  Step start(const Operation& operation) {
    const StepRule& rule = rule_of(operation.kind);
    Step step{operation};
    step.cut = cut_of(operation, rule.division);
    step.provider = provider_of(operation, rule.product);
    if (step.cut == Cut::parameter) set_blocks(step);
    if (request_.kind == PlanKind::apply && step.kind == StepKind::update_parameter) {
      plan_.flops += kFlopsOfElement * static_cast<double>(step.work.extent * step.work.row_elements);
    }
    if (step.kind == StepKind::encoded_dense || step.kind == StepKind::encoded_gradient) {
      plan_.flops += 4.0 * static_cast<double>(request_.batch * step.members) *
                     static_cast<double>(request_.graph->columns->columns.size()) *
                     static_cast<double>(step.out_features);
    }
    if (rule.product) {
      plan_.flops += 2.0 * static_cast<double>(request_.batch * step.members) * static_cast<double>(step.in_features) *
                     static_cast<double>(step.out_features);
    }
    return step;
  }

  void append(const Step& step) {
    const StepRule& rule = rule_of(step.kind);
    for (const Touch& touch : rule.touches()) {
      const int buffer = step.*touch.operand;
      if (buffer == kNone || touch.use == Use::read) continue;
      const int leader = rule.division.operand == nullptr ? kNone : step.*rule.division.operand;
      cuts_[index(buffer)] = leader == kNone ? step.cut : cuts_[index(leader)];
    }
    plan_.grouped = plan_.grouped || step.partials != kNone;
    if (step.work.after == After::update) plan_.most_rate = std::max(plan_.most_rate, step.work.factors.rate);
    const bool checks = request_.kind == PlanKind::apply && step.kind == StepKind::check_gradient;
    if (checks || step.kind == StepKind::gather_gradient) plan_.second_pass = plan_.steps.size();
    plan_.steps.push_back(step);
  }

  // ---- cuts ----

  Cut cut_of(const Operation& operation, const Division& division) const {
    switch (division.how) {
      case Division::rows:
      case Division::elements:
        return Cut::rows;
      case Division::columns:
        return Cut::columns;
      case Division::product:
        return product_cut(operation);
      case Division::like:
        return cuts_[index(operation.*division.operand)];
      case Division::parameter:
        return Cut::parameter;
      case Division::everyone:
        break;
    }
    return Cut::everyone;
  }

  // Cut by rows, every thread reads all of the weight; cut by columns, all of the rows. These come from other cores or from
  // memory, so the cut is chosen that reads less, unless the weight is too small to repay the barrier.
  Cut product_cut(const Operation& product) const {
    constexpr Index kLeastElements = 1 << 16;
    const Index weights = tells_members_apart(product.kind) ? product.members : 1;
    const Index weight = weights * product.in_features * product.out_features;
    const Index rows = request_.batch * product.members;
    const bool columns = weight >= kLeastElements && weight > rows * (product.in_features + product.out_features);
    return trains() && columns ? Cut::columns : Cut::rows;
  }

  // ---- barriers ----

  bool needs_barrier(const Step& step, const std::vector<Access>& accesses) {
    if (!trains()) return false;
    if (step.cut == Cut::everyone) {
      hazards_.note_barrier();
      return true;
    }
    // The norm covers all blocks of a parameter, so all must have been through the first pass.
    if (step.kind == StepKind::apply_update) return plan_.steps.back().kind != StepKind::apply_update;
    if (step.cut == Cut::parameter) return follows_rows();  // it needs all values and gradients
    // A column of a weight lies in all its blocks, so all must be updated before any is checked.
    if (step.kind == StepKind::limit_norm) return plan_.steps.back().kind != StepKind::limit_norm;
    return hazards_.needs_barrier(accesses);
  }

  // Mostly a check that everyone makes, of the loss or the gradient, stands before the steps of parameters.
  bool follows_rows() const {
    if (plan_.steps.empty()) return false;
    const Cut before = plan_.steps.back().cut;
    return before == Cut::rows || before == Cut::columns;
  }

  // ---- epilogues ----

  // Moves those of the following operations that the product `step` can do in its epilogue to `taken` or into the step.
  // Returns their number.
  std::size_t take(Step& step, std::span<const Operation> next, std::vector<Step>& taken) {
    const bool forward = step.kind == StepKind::dense || step.kind == StepKind::encoded_dense;
    const bool takes_sums = step.kind == StepKind::dense || step.kind == StepKind::input_gradient;
    if (request_.kind == PlanKind::curvature) return 0;
    if (!forward && step.kind != StepKind::input_gradient && step.kind != StepKind::member_input_gradient) return 0;
    const int place = static_cast<int>(plan_.steps.size());
    std::size_t count = 0;
    const auto follows = [&](StepKind kind, int Operands::* operand) {
      return count < next.size() && next[count].kind == kind && next[count].*operand == step.out;
    };
    const auto take_step = [&] {
      Step other = start(next[count++]);
      other.cut = step.cut;
      other.taken = true;
      taken.push_back(other);
      return place + static_cast<int>(taken.size());
    };
    const bool drops =
        forward ? follows(StepKind::dropout, &Operands::x) : follows(StepKind::dropout_gradient, &Operands::out);
    if (drops) step.dropout_step = take_step();
    if (follows(StepKind::activation_gradient, &Operands::out) && derivative_from_output(next[count].activation)) {
      step.activation = next[count].activation;
      step.activation_numbers = next[count].activation_numbers;
      step.saved = next[count++].saved;
    } else if (takes_sums && (forward ? follows(StepKind::batch_moments, &Operands::x)
                                      : follows(StepKind::batch_sums, &Operands::grad))) {
      step.sums_step = take_step();
    }
    return count;
  }

  // ---- products and parameters ----

  GemmProvider provider_of(const Operation& operation, const std::optional<GemmForm>& form) const {
    if (request_.provider != GemmProvider::automatic) return request_.provider;
    const bool covered =
        request_.table != nullptr && request_.element_size == sizeof(float) && request_.batch >= kLeastRows;
    if (!covered || !form) return GemmProvider::native;
    const Index rows = request_.batch * (tells_members_apart(operation.kind) ? 1 : operation.members);
    const std::size_t place = product_class(*form, rows, operation.in_features, operation.out_features);
    return (*request_.table)[place].provider;
  }

  // The blocks of a parameter are the same for any number of threads and rows, and for all steps that work on it.
  void set_blocks(Step& step) {
    const ParameterWork& work = step.work;
    if (step.kind == StepKind::update_statistics) {
      step.block = work.extent;
      return;
    }
    const auto [found, is_new] = parameters_.try_emplace(step.parameter);
    Blocks& blocks = found->second;
    if (is_new) {
      blocks.block =
          work.is_weight ? weight_block(work.extent, work.row_elements) : std::min(kVectorBlock, work.extent);
      if (is_sparse(step)) blocks.block = sparse_block(work.extent);
      const Index elements = blocks.block * work.row_elements, count = block_count(work.extent, blocks.block);
      blocks.group = work.is_lazy ? 1 : std::clamp(kGroupElements / elements, Index{1}, count);
      blocks.first_sum = plan_.sum_slots;
      plan_.sum_slots += count;
      plan_.block_elements = std::max(plan_.block_elements, scratch_of(step, blocks.group * blocks.block));
    }
    step.block = blocks.block;
    step.group = blocks.group;
    step.first_sum = blocks.first_sum;
  }

  // Returns whether a block of the gradient has those rows alone that are not zero.
  bool is_sparse(const Step& step) const { return step.work.is_lazy && request_.kind == PlanKind::training; }

  // The elements of the gradient of so many rows in the memory of a thread; in a sparse one, a number of each row as well.
  Index scratch_of(const Step& step, Index rows) const {
    if (!is_sparse(step)) return rows * step.work.row_elements;
    return std::min(rows, request_.batch * plan_.columns.embeddings) * (step.work.row_elements + 1);
  }

  struct Blocks {
    Index block = 0, group = 1, first_sum = 0;
  };

  const PlanRequest& request_;
  Plan& plan_;
  std::vector<Cut> cuts_;  // by buffer: what works on it element by element is cut like this
  Hazards hazards_;
  std::map<Index, Blocks> parameters_;  // by offset
};

// Rows begin on cache lines, and not all on the same few sets of the cache if the width is a power of two. Masks are bytes.
// Buffers with rows of their own are read along columns.
Index stride_of(const Buffer& buffer) {
  if (buffer.rows > 0 || buffer.element_size == 1) return round_up(buffer.width, kAlignment);
  Index bytes = round_up(buffer.width * buffer.element_size, kAlignment);
  if (bytes % 4096 == 0) bytes += kAlignment;
  return bytes / buffer.element_size;
}

// In inference a buffer is alive from the first step that touches it to the last. In training all buffers are read again at
// the end.
void set_lifetimes(Plan& plan) {
  int time = 0;
  for (Buffer& buffer : plan.buffers) buffer.first = kNone;
  for (const Step& step : plan.steps) {
    if (step.kind == StepKind::check_loss) break;
    for (const Touch& touch : rule_of(step.kind).touches()) {
      if (step.*touch.operand == kNone) continue;
      Buffer& buffer = plan.buffers[static_cast<std::size_t>(step.*touch.operand)];
      if (buffer.first == kNone) buffer.first = time;
      buffer.last = time;
    }
    ++time;
  }
  if (!trains(plan.kind)) return;
  for (Buffer& buffer : plan.buffers) buffer.first = 0, buffer.last = time;
}

PlannedColumns columns_of(const Graph& graph) {
  PlannedColumns planned;
  if (!graph.columns) return planned;
  const Node& node = graph.nodes[1];
  const auto offset = [&](int parameter) {
    return parameter == kNone ? kNone : graph.parameters[static_cast<std::size_t>(parameter)].info.offset;
  };
  planned.columns = graph.columns->columns;
  planned.embedding_dim = graph.columns->layer.embedding_dim;
  for (const EncodedColumn& column : planned.columns)
    planned.embeddings += column.kind == ColumnKind::embedding ? 1 : 0;
  planned.number_layers = graph.columns->number_layers;
  planned.layer_rows = graph.columns->layer_rows;
  planned.table = offset(node.weight);
  if (graph.columns->has_linear_ladders()) {
    planned.linear = offset(node.others[0]);
  } else {
    planned.frequency = offset(node.others[0]);
    planned.frequencies = graph.columns->layer.frequencies;
  }
  planned.weight = offset(node.others[1]);
  planned.bias = offset(node.others[2]);
  return planned;
}

Plan schedule(const PlanRequest& request, Lowered lowered) {
  Plan plan;
  plan.kind = request.kind;
  plan.loss = request.loss;
  plan.class_targets = request.class_targets;
  plan.batch = request.batch;
  plan.groups = request.groups;
  plan.output_dim = request.graph->output_dim();
  plan.batch_statistics = lowered.batch_statistics;
  plan.input_buffer = lowered.input_buffer;
  plan.output_buffer = lowered.output_buffer;
  plan.target_buffer = lowered.target_buffer;
  plan.buffers = std::move(lowered.buffers);
  plan.columns = columns_of(*request.graph);
  plan.columns.slots = lowered.slots_buffer;
  Scheduler(request, plan).run(lowered.operations);
  for (Buffer& buffer : plan.buffers) buffer.stride = stride_of(buffer);
  if (!trains(plan.kind)) plan.buffers[static_cast<std::size_t>(plan.input_buffer)].external = true;
  if (plan.kind == PlanKind::inference) plan.buffers[static_cast<std::size_t>(plan.output_buffer)].external = true;
  set_lifetimes(plan);
  plan.arena_bytes = layout_arena(plan.buffers, request.batch);
  return plan;
}

}  // namespace

Plan build_plan(const PlanRequest& request) { return schedule(request, lower(request)); }

}  // namespace stoop
