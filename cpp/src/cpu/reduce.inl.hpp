// Column sums and row gathering.

// Each column is added from the first row to the last, four vectors of columns at a time to hide the latency of addition.
template <class T, int kWidth>
inline void column_sum_strip(const ColumnSumArgs<T>& args, Index j) {
  Vec<T> sum[kWidth] = {};
  for (Index i = 0; i < args.rows; ++i) {
    STOOP_UNROLL
    for (int v = 0; v < kWidth; ++v) sum[v] += load(args.a + i * args.lda + j + v * kLanes<T>);
  }
  for (int v = 0; v < kWidth; ++v) store(args.sum + j + v * kLanes<T>, sum[v]);
}

template <class T>
void column_sum(const ColumnSumArgs<T>& args) noexcept {
  Index j = 0;
  for (; j + 4 * kLanes<T> <= args.cols; j += 4 * kLanes<T>) column_sum_strip<T, 4>(args, j);
  for (; j + kLanes<T> <= args.cols; j += kLanes<T>) column_sum_strip<T, 1>(args, j);
  if (j == args.cols) return;
  const int lanes = static_cast<int>(args.cols - j);
  Vec<T> sum{};
  for (Index i = 0; i < args.rows; ++i) sum += load_partial(args.a + i * args.lda + j, lanes);
  store_partial(args.sum + j, sum, lanes);
}

template <class T>
void gather(const GatherArgs<T>& args) noexcept {
  for (Index i = 0; i < args.rows; ++i) {
    const Index row = args.index == nullptr ? i : args.index[i];
    __builtin_memcpy(args.output + i * args.ld_output, args.input + row * args.ld_input,
                     static_cast<size_t>(args.cols) * sizeof(T));
  }
}
