// Column sums.

// Each column is added from the first row to the last.
template <class T, bool kLarge>
inline void column_sum_of(const ColumnSumArgs<T>& args) {
  for_each_strip<T>(args.cols, [&](Index first, Index cols) {
    const T* strip = args.a + first;
    for_each_group_of_vectors<T>(cols, [&]<int kWidth>(Index j, int lanes) {
      Vec<T> sum[kWidth] = {};
      const StripAhead<T, kLarge> ahead{strip, args.lda, j == 0 ? args.rows : 0};
      for (Index i = 0; i < args.rows; ++i) {
        ahead.ask(i + kRowsAhead);
        STOOP_UNROLL
        for (int v = 0; v < kWidth; ++v) sum[v] += load_lanes(strip + i * args.lda + j + v * kLanes<T>, lanes);
      }
      STOOP_UNROLL
      for (int v = 0; v < kWidth; ++v) store_lanes(args.sum + first + j + v * kLanes<T>, sum[v], lanes);
    });
  });
}

template <class T>
void column_sum(const ColumnSumArgs<T>& args) noexcept {
  if (args.rows == 0) {
    for (Index j = 0; j < args.cols; ++j) args.sum[j] = T(0);
    return;
  }
  if (is_large<T>(args.rows, args.lda)) return column_sum_of<T, true>(args);
  column_sum_of<T, false>(args);
}
