// Products of encoded rows that are never made. The encoded row of a ladder is 1, .., 1, value, 0, .., 0, so its product with a
// weight is the sum of the rows before the index, which a table has, and the value times the row at the index: 4 operations for
// each column and unit, instead of twice the bins.

// Vectors of units that are taken together, so that a row's sums stay in registers.
constexpr int kEncodedVectors = 8;

// sum + scale * row of the weight, with one rounding where the instruction set has that. Left to itself, the compiler would
// contract some of the loops that use this and not others, and their sums would differ.
template <class T>
[[gnu::always_inline]] inline Vec<T> add_scaled(Vec<T> sum, T scale, const T* weight, int lanes) {
#if defined(__FMA__) || defined(__aarch64__)
  return multiply_add<T>(broadcast(scale), load_lanes(weight, lanes), sum);
#else
  return sum + scale * load_lanes(weight, lanes);
#endif
}

template <class T>
inline T scale_at(const EncodedRows<T>& of, Index m, Index k) {
  return of.scale == nullptr ? T(1) : of.scale[m * of.width + k];
}

// Does what comes after the product to a row of the output, which is in the first-level cache.
template <class T>
inline void finish_encoded(const EncodedDenseArgs<T>& args, Index row) {
  const Index units = args.of.units;
  T* const out = args.output + row * args.ld_output;
  if (args.activation != kind_of<Identity>()) {
    kActivations<T>.forward[static_cast<int>(args.activation)](
        {1, units, out, args.ld_output, out, args.ld_output, args.activation_numbers});
  }
  if (args.dropout == nullptr) return;
  DropoutArgs<T> part = *args.dropout;
  part.rows = 1;
  part.cols = units;
  part.mask += row * part.ld_mask;
  part.output += row * part.ld_output;
  apply_mask(part, out, args.ld_output);
}

// table[k] = the sum of the scaled rows of a ladder before k. The other rows are not written.
template <class T>
inline void make_prefixes(const EncodedDenseArgs<T>& args, Index m) {
  const EncodedRows<T>& of = args.of;
  for (Index f = 0; f < of.cols; ++f) {
    const EncodedColumn& column = of.columns[f];
    if (column.kind != ColumnKind::ladder) continue;
    for_each_group_of_vectors<T, kEncodedVectors>(of.units, [&]<int kWidth>(Index j, int lanes) {
      Vec<T> sum[kWidth] = {};
      for (Index k = column.first; k < column.first + column.width; ++k) {
        const T scale = scale_at(of, m, k);
        STOOP_UNROLL
        for (int v = 0; v < kWidth; ++v) {
          const Index u = j + v * kLanes<T>;
          store_lanes(args.table + k * of.units + u, sum[v], lanes);
          sum[v] = add_scaled(sum[v], scale, of.weight + k * of.ld_weight + u, lanes);
        }
      }
    });
  }
}

// The outputs of row i of member m, by its table.
template <class T>
inline void encoded_row(const EncodedDenseArgs<T>& args, Index i, Index m) {
  const EncodedRows<T>& of = args.of;
  const T* const values = of.places + i * of.ld_places;
  const int32_t* const indices = place_indices(values, of.cols);
  T* const out = args.output + (i * of.members + m) * args.ld_output;
  for_each_group_of_vectors<T, kEncodedVectors>(of.units, [&]<int kWidth>(Index j, int lanes) {
    Vec<T> sum[kWidth] = {};
    if (args.bias != nullptr) {
      STOOP_UNROLL
      for (int v = 0; v < kWidth; ++v) sum[v] = load_lanes(args.bias + j + v * kLanes<T>, lanes);
    }
    for (Index f = 0; f < of.cols; ++f) {
      const EncodedColumn& column = of.columns[f];
      const Index at = column.first + indices[f];
      if (column.kind == ColumnKind::ladder) {
        STOOP_UNROLL
        for (int v = 0; v < kWidth; ++v) sum[v] += load_lanes(args.table + at * of.units + j + v * kLanes<T>, lanes);
      }
      const T factor = values[f] * scale_at(of, m, at);
      STOOP_UNROLL
      for (int v = 0; v < kWidth; ++v) {
        sum[v] = add_scaled(sum[v], factor, of.weight + at * of.ld_weight + j + v * kLanes<T>, lanes);
      }
    }
    STOOP_UNROLL
    for (int v = 0; v < kWidth; ++v) store_lanes(out + j + v * kLanes<T>, sum[v], lanes);
  });
}

// Fewer rows than this find their prefix sums themselves, for some members at a time, which read each row of the weight once.
constexpr Index kLeastRowsOfTable = 24;
constexpr int kMembersAtOnce = 8;

// The same for members m to m + kMembers and a vector of units, without a table.
template <class T, int kMembers>
inline void encoded_members(const EncodedDenseArgs<T>& args, Index i, Index m, Index j, int lanes) {
  const EncodedRows<T>& of = args.of;
  const T* const values = of.places + i * of.ld_places;
  const int32_t* const indices = place_indices(values, of.cols);
  Vec<T> sum[kMembers];
  STOOP_UNROLL
  for (int n = 0; n < kMembers; ++n) sum[n] = args.bias == nullptr ? Vec<T>{} : load_lanes(args.bias + j, lanes);
  for (Index f = 0; f < of.cols; ++f) {
    const EncodedColumn& column = of.columns[f];
    const Index at = column.first + indices[f];
    if (column.kind == ColumnKind::ladder) {
      Vec<T> before[kMembers] = {};
      for (Index k = column.first; k < at; ++k) {
        STOOP_UNROLL
        for (int n = 0; n < kMembers; ++n) {
          before[n] = add_scaled(before[n], scale_at(of, m + n, k), of.weight + k * of.ld_weight + j, lanes);
        }
      }
      STOOP_UNROLL
      for (int n = 0; n < kMembers; ++n) sum[n] += before[n];
    }
    STOOP_UNROLL
    for (int n = 0; n < kMembers; ++n) {
      sum[n] = add_scaled(sum[n], values[f] * scale_at(of, m + n, at), of.weight + at * of.ld_weight + j, lanes);
    }
  }
  T* const out = args.output + (i * of.members + m) * args.ld_output + j;
  STOOP_UNROLL
  for (int n = 0; n < kMembers; ++n) store_lanes(out + n * args.ld_output, sum[n], lanes);
}

template <class T>
inline void encoded_row_alone(const EncodedDenseArgs<T>& args, Index i) {
  const Index members = args.of.members;
  for_each_vector<T>(args.of.units, [&](Index j, int lanes) {
    Index m = 0;
    for (; m + kMembersAtOnce <= members; m += kMembersAtOnce) encoded_members<T, kMembersAtOnce>(args, i, m, j, lanes);
    for (; m < members; ++m) encoded_members<T, 1>(args, i, m, j, lanes);
  });
  for (Index m = 0; m < members; ++m) finish_encoded(args, i * members + m);
}

// The members are the outer loop, so that the table of one stays in the second-level cache.
template <class T>
void encoded_dense(const EncodedDenseArgs<T>& args) noexcept {
  const EncodedRows<T>& of = args.of;
  if (of.rows < kLeastRowsOfTable) {
    for (Index i = 0; i < of.rows; ++i) encoded_row_alone(args, i);
    return;
  }
  for (Index m = 0; m < of.members; ++m) {
    make_prefixes(args, m);
    for (Index i = 0; i < of.rows; ++i) {
      encoded_row(args, i, m);
      finish_encoded(args, i * of.members + m);
    }
  }
}

// ---- gradients ----

// So many rows are sorted by their index at a time, for so many columns of X.
constexpr int kSortedRows = 256, kSortedColumns = 16;

// Sorts keys in ascending order, which differ from each other.
inline void sort_keys(int32_t* keys, int n) {
  int32_t other[kSortedRows];
  for (int width = 1; width < n; width *= 2) {
    for (int start = 0; start < n; start += 2 * width) {
      const int middle = start + width < n ? start + width : n, end = start + 2 * width < n ? start + 2 * width : n;
      for (int left = start, right = middle, to = start; to < end; ++to) {
        const bool takes_left = left < middle && (right >= end || keys[left] < keys[right]);
        other[to] = takes_left ? keys[left++] : keys[right++];
      }
    }
    __builtin_memcpy(keys, other, static_cast<size_t>(n) * sizeof(int32_t));
  }
}

// What is known of some rows of X for one column: keys are row + kSortedRows * (places - 1 - index), of so many places, so the
// largest index comes first and rows of the same index are in order.
struct SortedRows {
  int32_t keys[kSortedRows];
};

template <class T>
inline void sort_by_index(const EncodedRows<T>& of, Index first, int n, Index f, Index places, SortedRows& sorted) {
  for (int i = 0; i < n; ++i) {
    const int32_t index = place_indices(of.places + (first + i) * of.ld_places, of.cols)[f];
    sorted.keys[i] = i + kSortedRows * (static_cast<int32_t>(places) - 1 - index);
  }
  sort_keys(sorted.keys, n);
}

// Rows first to first + n of the gradient of one member, for one column of X.
template <class T>
struct ColumnOfMember {
  const EncodedGradientArgs<T>& args;
  const EncodedColumn& column;
  const SortedRows& sorted;
  Index f, m, first;
  int n;

  // Adds the gradients of the rows of one index: those of the weight's row are grad times value, and what reaches the rows before
  // is grad alone. `from` to `to` are positions among the sorted.
  void add_index(Index index, int from, int to) const {
    const EncodedRows<T>& of = args.of;
    const Index k = column.first + index;
    const T scale = scale_at(of, m, k);
    T* const grad_weight = args.grad_weight + k * of.ld_weight;
    const T* const weight = of.weight + k * of.ld_weight;
    Vec<T> products{};
    for_each_group_of_vectors<T, 4>(of.units, [&]<int kWidth>(Index j, int lanes) {
      Vec<T> own[kWidth] = {}, before[kWidth];
      STOOP_UNROLL
      for (int v = 0; v < kWidth; ++v) before[v] = load_lanes(args.suffix + j + v * kLanes<T>, lanes);
      if (column.kind == ColumnKind::ladder) {
        STOOP_UNROLL
        for (int v = 0; v < kWidth; ++v) own[v] = before[v];
      }
      for (int s = from; s < to; ++s) {
        const Index i = first + sorted.keys[s] % kSortedRows;
        const T value = of.places[i * of.ld_places + f];
        const T* const grad = args.grad + (i * of.members + m) * args.ld_grad + j;
        STOOP_UNROLL
        for (int v = 0; v < kWidth; ++v) {
          const Vec<T> g = load_lanes(grad + v * kLanes<T>, lanes);
          own[v] += value * g;
          before[v] += g;
        }
      }
      STOOP_UNROLL
      for (int v = 0; v < kWidth; ++v) {
        const Index u = j + v * kLanes<T>;
        store_lanes(args.suffix + u, before[v], lanes);
        store_lanes(grad_weight + u, load_lanes(grad_weight + u, lanes) + scale * own[v], lanes);
        products += select<T>(first_lanes<T>(lanes), own[v] * load_lanes(weight + u, lanes), Vec<T>{});
      }
    });
    if (args.grad_scale != nullptr) args.grad_scale[m * of.width + k] += static_cast<T>(sum_lanes<T>(products));
  }

  void add() const {
    for_each_vector<T>(args.of.units, [&](Index u, int lanes) { store_lanes(args.suffix + u, Vec<T>{}, lanes); });
    const auto index_at = [&](int s) { return column.width - 1 - sorted.keys[s] / kSortedRows; };
    const bool is_ladder = column.kind == ColumnKind::ladder;
    int from = 0;
    for (Index index = index_at(0); index >= 0; --index) {
      int to = from;
      while (to < n && index_at(to) == index) ++to;
      if (to > from || is_ladder) add_index(index, from, to);
      if (to == n && !is_ladder) break;
      from = to;
    }
  }
};

template <class T>
inline void clear_gradients(const EncodedGradientArgs<T>& args) {
  const EncodedRows<T>& of = args.of;
  const Index first = of.columns[args.begin].first;
  const Index end = of.columns[args.end - 1].first + of.columns[args.end - 1].width;
  for (Index k = first; k < end; ++k) {
    T* const row = args.grad_weight + k * of.ld_weight;
    for_each_vector<T>(of.units, [&](Index u, int lanes) { store_lanes(row + u, Vec<T>{}, lanes); });
  }
  for (Index m = 0; args.grad_scale != nullptr && m < of.members; ++m) {
    for (Index k = first; k < end; ++k) args.grad_scale[m * of.width + k] = T(0);
  }
}

// Sums are over blocks of rows, in each over the members, in each by index and in the order of the rows. So they do not depend
// on which columns share a call. The rows of one member pass through the second-level cache once for all columns of a call.
template <class T>
void encoded_gradient(const EncodedGradientArgs<T>& args) noexcept {
  const EncodedRows<T>& of = args.of;
  SortedRows sorted[kSortedColumns];
  if (args.begin >= args.end) return;
  clear_gradients(args);
  for (Index group = args.begin; group < args.end; group += kSortedColumns) {
    const Index group_end = group + kSortedColumns < args.end ? group + kSortedColumns : args.end;
    for (Index first = 0; first < of.rows; first += kSortedRows) {
      const int n = static_cast<int>(of.rows - first < kSortedRows ? of.rows - first : kSortedRows);
      for (Index f = group; f < group_end; ++f) {
        sort_by_index(of, first, n, f, of.columns[f].width, sorted[f - group]);
      }
      for (Index m = 0; m < of.members; ++m) {
        for (Index f = group; f < group_end; ++f) {
          ColumnOfMember<T>{args, of.columns[f], sorted[f - group], f, m, first, n}.add();
        }
      }
    }
  }
}
