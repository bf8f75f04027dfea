// Fills the tables of kernels from the texts included before it.

// A loop of independent multiply-adds that stays in registers: it runs at the peak of the machine.
constexpr int kPeakVectors = 12;

template <class T>
void fma_loop(Index iterations, T* sink) noexcept {
  Vec<T> sum[kPeakVectors];
  STOOP_UNROLL
  for (int v = 0; v < kPeakVectors; ++v) sum[v] = broadcast(static_cast<T>(v));
  Vec<T> factor = load(sink), addend = load(sink + kLanes<T>);
  for (Index i = 0; i < iterations; ++i) {
    STOOP_UNROLL
    for (int v = 0; v < kPeakVectors; ++v) {
      sum[v] = sum[v] * factor + addend;
      asm volatile("" : STOOP_VECTOR_REGISTER(sum[v]));  // keeps the loop from being folded
    }
  }
  Vec<T> total{};
  STOOP_UNROLL
  for (int v = 0; v < kPeakVectors; ++v) total += sum[v];
  store(sink, total);
}

template <class T>
constexpr OpTable<T> make_table() {
  OpTable<T> table{};
  table.name = kIsaName;
  table.gemm_col_tile = kGemmVectors * kLanes<T>;
  table.gemm_scratch_elements = gemm_scratch_elements<T>;
  table.gemm = gemm<T>;
  table.gemm_epilogue = gemm_epilogue<T>;
  for (int i = 0; i < kActivationCount; ++i) {
    table.activation_forward[i] = kActivations<T>.forward[i];
    table.activation_backward[i] = kActivations<T>.backward[i];
    table.activation_tangent[i] = kActivations<T>.tangent[i];
  }
  for_each_alternative<Loss>([&]<class Op>(TypeOf<Op>) {
    table.loss[kIndexIn<Op, Loss>] = loss_kernel<T, Op>;
    table.loss_tangent[kIndexIn<Op, Loss>] = loss_tangent_kernel<T, Op>;
  });
  for_each_alternative<Optimizer>([&]<class Op>(TypeOf<Op>) {
    if constexpr (!Spec<Op>::kFullBatch) table.update[kIndexIn<Op, Optimizer>] = update<T, Op>;
    if constexpr (Spec<Op>::kNeedsNorms) table.apply[kIndexIn<Op, Optimizer>] = apply<T, Op>;
  });
  table.regularize = regularize<T>;
  table.limit_norm = limit_norm<T>;
  table.column_sum = column_sum<T>;
  table.gather[static_cast<int>(InputType::float32)] = gather<T, float>;
  table.gather[static_cast<int>(InputType::float64)] = gather<T, double>;
  table.gather[static_cast<int>(InputType::uint8)] = gather<T, uint8_t>;
  table.map_gradient = map_gradient<T>;
  table.encoded_dense = encoded_product<T>;
  table.encoded_gradient = encoded_product_gradient<T>;
  fill_columns(table);
  table.warp = warp<T>;
  table.displacement = displacement<T>;
  table.add_noise = add_noise<T>;
  table.batch_norm_moments = batch_norm_moments<T>;
  table.batch_norm_forward = batch_norm_forward<T>;
  table.batch_norm_sums = batch_norm_sums<T>;
  table.batch_norm_backward = batch_norm_backward<T>;
  fill_normalization(table);
  fill_members(table);
  table.batch_norm_tangent = batch_norm_tangent<T>;
  table.batch_norm_gradient_tangent = batch_norm_gradient_tangent<T>;
  table.dropout_mask = dropout_mask<T>;
  table.dropout_forward = dropout_forward<T>;
  table.dropout_backward = dropout_backward<T>;
  for (int i = 0; i < kElementaryCount; ++i) table.elementary[i] = kElementary<T>[i];
  table.fma_loop = fma_loop<T>;
  table.fma_loop_flops = 2 * kPeakVectors * kLanes<T>;
  return table;
}

template <class T>
constexpr OpTable<T> kTable = make_table<T>();
