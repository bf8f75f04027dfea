// Column sums and row gathering.

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

// Rows that are taken in any order lie where no prefetcher looks: each is asked for while one some rows, at most 4 KB,
// before it is copied.
template <class T>
void gather(const GatherArgs<T>& args) noexcept {
  constexpr Index kBytes = 4096, kLine = 64, kMostRows = 16;
  const Index row_bytes = args.cols * static_cast<Index>(sizeof(T));
  const Index ahead = kBytes / row_bytes < 1 ? 1 : kBytes / row_bytes > kMostRows ? kMostRows : kBytes / row_bytes;
  const auto row = [&](Index i) { return args.input + (args.index == nullptr ? i : args.index[i]) * args.ld_input; };
  const auto ask = [&](Index i) {
    if (i >= args.rows) return;
    const char* from = reinterpret_cast<const char*>(row(i));
    for (Index byte = 0; byte < row_bytes; byte += kLine) __builtin_prefetch(from + byte);
  };
  for (Index i = 0; i < ahead; ++i) ask(i);
  for (Index i = 0; i < args.rows; ++i) {
    ask(i + ahead);
    const T* from = row(i);
    T* to = args.output + i * args.ld_output;
    for_each_vector<T>(args.cols, [&](Index j, int lanes) { store_lanes(to + j, load_lanes(from + j, lanes), lanes); });
  }
}
