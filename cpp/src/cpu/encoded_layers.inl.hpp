// Products of rows that linear ladders encode, which are never made. What a column gives to the product is a line in each of its
// bins. So a table has, for each member, what its ends give: the products of the embeddings at the edges of the bins. An output is
// the sum of two ends for each column and of the number times the product of its own weights, 3 operations in place of `dim`.
//
// The ends of a column are bins + 1 embeddings, the first of which is the bias, and after them the weights of the number. Its layer
// has as many rows: those of the bins, the bias, and the weights of the number.

inline Index first_end(const EncodedColumn& column) { return column.start + 2 * column.layer; }
inline Index ends_of(const EncodedColumn& column) { return column.bins + 2; }

template <class T>
inline Index all_ends(const EncodedRows<T>& of) {
  return of.layers.rows + 2 * of.layers.count;
}

// ---- small products ----

// Vectors of units that are taken together with four rows.
template <class T>
constexpr int kProductVectors = sizeof(Vec<T>) == 64 ? 4 : 2;

// Element (row, k) of the left factor is data[row * row_step + k * depth_step].
template <class T>
struct LeftFactor {
  const T* data;
  Index row_step, depth_step;
};

// out (kRows, units) = a @ b, or added to it. Each element is a sum in the order of the depth.
template <class T, int kRows>
inline void multiply_rows(const LeftFactor<T>& a, const T* b, Index ldb, Index depth, Index units, T* out, Index ldo,
                          bool adds) {
  for_each_group_of_vectors<T, kProductVectors<T>>(units, [&]<int kWidth>(Index j, int lanes) {
    Vec<T> sum[kRows][kWidth];
    STOOP_UNROLL
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kWidth; ++v) {
        sum[r][v] = adds ? load_lanes(out + r * ldo + j + v * kLanes<T>, lanes) : Vec<T>{};
      }
    }
    for (Index k = 0; k < depth; ++k) {
      STOOP_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const T factor = a.data[r * a.row_step + k * a.depth_step];
        STOOP_UNROLL
        for (int v = 0; v < kWidth; ++v) {
          sum[r][v] = add_scaled(sum[r][v], factor, b + k * ldb + j + v * kLanes<T>, lanes);
        }
      }
    }
    STOOP_UNROLL
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kWidth; ++v) store_lanes(out + r * ldo + j + v * kLanes<T>, sum[r][v], lanes);
    }
  });
}

template <class T>
inline void multiply(const LeftFactor<T>& a, Index rows, const T* b, Index ldb, Index depth, Index units, T* out,
                     Index ldo, bool adds) {
  Index r = 0;
  for (; r + 4 <= rows; r += 4) {
    multiply_rows<T, 4>({a.data + r * a.row_step, a.row_step, a.depth_step}, b, ldb, depth, units, out + r * ldo, ldo,
                        adds);
  }
  for (; r < rows; ++r) {
    multiply_rows<T, 1>({a.data + r * a.row_step, a.row_step, a.depth_step}, b, ldb, depth, units, out + r * ldo, ldo,
                        adds);
  }
}

// out (kRows, kCols) = a (kRows, n) @ b (kCols, n)^T
template <class T, int kRows, int kCols>
inline void dot_block(const T* a, Index lda, const T* b, Index ldb, Index n, T* out, Index ldo) {
  Vec<T> sum[kRows][kCols] = {};
  for_each_vector<T>(n, [&](Index u, int lanes) {
    STOOP_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const Vec<T> left = load_lanes(a + r * lda + u, lanes);
      STOOP_UNROLL
      for (int c = 0; c < kCols; ++c) sum[r][c] += left * load_lanes(b + c * ldb + u, lanes);
    }
  });
  for (int r = 0; r < kRows; ++r) {
    for (int c = 0; c < kCols; ++c) out[r * ldo + c] = static_cast<T>(sum_lanes<T>(sum[r][c]));
  }
}

// out (rows, cols) = a (rows, n) @ b (cols, n)^T
template <class T>
inline void dots(const T* a, Index lda, Index rows, const T* b, Index ldb, Index cols, Index n, T* out) {
  constexpr int kSide = kProductVectors<T>;
  for (Index r = 0; r < rows; r += kSide) {
    for (Index c = 0; c < cols; c += kSide) {
      if (r + kSide <= rows && c + kSide <= cols) {
        dot_block<T, kSide, kSide>(a + r * lda, lda, b + c * ldb, ldb, n, out + r * cols + c, cols);
        continue;
      }
      for (Index i = r; i < rows && i < r + kSide; ++i) {
        for (Index k = c; k < cols && k < c + kSide; ++k) {
          dot_block<T, 1, 1>(a + i * lda, lda, b + k * ldb, ldb, n, out + i * cols + k, cols);
        }
      }
    }
  }
}

// to (rows, dim) = from * scale of each column; without a scale, from
template <class T>
inline void scale_columns(const T* from, const T* scale, Index rows, Index dim, T* to) {
  for (Index k = 0; k < rows; ++k) {
    for_each_vector<T>(dim, [&](Index d, int lanes) {
      const Vec<T> row = load_lanes(from + k * dim + d, lanes);
      store_lanes(to + k * dim + d, scale == nullptr ? row : row * load_lanes(scale + d, lanes), lanes);
    });
  }
}

template <class T>
inline const T* scale_of(const EncodedRows<T>& of, Index m, const EncodedColumn& column) {
  return of.scale == nullptr ? nullptr : of.scale + m * of.width + column.first;
}

// ---- the product ----

template <class T>
inline void make_ends(const EncodedRows<T>& of, T* ends) {
  const Index dim = of.dim;
  for (Index f = 0; f < of.cols; ++f) {
    const EncodedColumn& column = of.columns[f];
    T* const to = ends + first_end(column) * dim;
    copy_row(of.layers.bias + column.layer * dim, to, dim);
    for (Index k = 0; k < column.bins; ++k) {
      copy_row(to + k * dim, to + (k + 1) * dim, dim);
      add_row(of.layers.weight + (column.start + k) * dim, to + (k + 1) * dim, dim);
    }
    copy_row(of.layers.linear + column.layer * dim, to + (column.bins + 1) * dim, dim);
  }
}

// The outputs of row i of member m, by its table of ends.
template <class T>
inline void ladder_row(const EncodedDenseArgs<T>& args, const T* table, Index i, Index m) {
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
      const bool has_bins = column.bins > 0;
      const T* const at = table + (first_end(column) + (has_bins ? indices[f] : 0)) * of.units + j;
      const T* const linear = table + (first_end(column) + column.bins + 1) * of.units + j;
      STOOP_UNROLL
      for (int v = 0; v < kWidth; ++v) {
        const Vec<T> left = load_lanes(at + v * kLanes<T>, lanes);
        sum[v] += left;
        if (has_bins) {
          const Vec<T> step = load_lanes(at + of.units + v * kLanes<T>, lanes) - left;
          sum[v] += values[f] * step;
        }
        sum[v] = add_scaled(sum[v], values[2 * of.cols + f], linear + v * kLanes<T>, lanes);
      }
    }
    STOOP_UNROLL
    for (int v = 0; v < kWidth; ++v) store_lanes(out + j + v * kLanes<T>, sum[v], lanes);
  });
}

// The ends are those of all members, so they are made once.
template <class T>
void product_of_ladders(const EncodedDenseArgs<T>& args) {
  const EncodedRows<T>& of = args.of;
  T* const ends = args.table;
  T* const scaled = ends + all_ends(of) * of.dim;
  T* const table = scaled + all_ends(of) * of.dim;
  make_ends(of, ends);
  for (Index m = 0; m < of.members; ++m) {
    for (Index f = 0; f < of.cols; ++f) {
      const EncodedColumn& column = of.columns[f];
      const Index first = first_end(column), rows = ends_of(column);
      scale_columns(ends + first * of.dim, scale_of(of, m, column), rows, of.dim, scaled);
      multiply<T>({scaled, of.dim, 1}, rows, of.weight + column.first * of.ld_weight, of.ld_weight, of.dim, of.units,
                  table + first * of.units, of.units, false);
    }
    for (Index i = 0; i < of.rows; ++i) {
      ladder_row(args, table, i, m);
      finish_encoded(args, i * of.members + m);
    }
  }
}

// ---- gradients ----

// Memory of a gradient: for all ends the rows of the layers and the sums of their gradients, for one column the sums of the
// outputs' gradients (ends, units), scaled rows, and products (ends, dim).
template <class T>
struct LadderMemory {
  T *rows, *grad_rows, *sums, *scaled, *products;

  LadderMemory(const EncodedRows<T>& of, T* memory) {
    const Index elements = all_ends(of) * of.dim;
    rows = memory;
    grad_rows = rows + elements;
    scaled = grad_rows + elements;
    products = scaled + elements;
    sums = products + elements;
  }
};

// Rows first to first + n of the gradient of one member, for one column of X.
template <class T>
struct LadderOfMember {
  const EncodedGradientArgs<T>& args;
  const EncodedColumn& column;
  const SortedRows& sorted;
  const LadderMemory<T>& memory;
  Index f, m, first;
  int n;

  Index index_at(int s) const { return (column.bins > 0 ? column.bins : 1) - 1 - sorted.keys[s] / kSortedRows; }

  // sums = the gradients with respect to what the rows of the layer give: of a bin grad times value, and grad alone of the rows
  // in later bins; of the bias all of grad; of the number grad times number.
  void sum() const {
    const EncodedRows<T>& of = args.of;
    T* const total = memory.sums + column.bins * of.units;
    clear_row(total, 2 * of.units);
    int from = 0;
    for (Index index = column.bins > 0 ? column.bins - 1 : 0; index >= 0; --index) {
      int to = from;
      while (to < n && index_at(to) == index) ++to;
      for_each_group_of_vectors<T, 4>(of.units, [&]<int kWidth>(Index j, int lanes) {
        Vec<T> own[kWidth], before[kWidth], linear[kWidth];
        STOOP_UNROLL
        for (int v = 0; v < kWidth; ++v) {
          own[v] = before[v] = load_lanes(total + j + v * kLanes<T>, lanes);
          linear[v] = load_lanes(total + of.units + j + v * kLanes<T>, lanes);
        }
        for (int s = from; s < to; ++s) {
          const Index i = first + sorted.keys[s] % kSortedRows;
          const T* const values = of.places + i * of.ld_places;
          const T* const grad = args.grad + (i * of.members + m) * args.ld_grad + j;
          STOOP_UNROLL
          for (int v = 0; v < kWidth; ++v) {
            const Vec<T> g = load_lanes(grad + v * kLanes<T>, lanes);
            own[v] += values[f] * g;
            before[v] += g;
            linear[v] += values[2 * of.cols + f] * g;
          }
        }
        STOOP_UNROLL
        for (int v = 0; v < kWidth; ++v) {
          const Index u = j + v * kLanes<T>;
          store_lanes(total + u, before[v], lanes);
          store_lanes(total + of.units + u, linear[v], lanes);
          if (column.bins > 0) store_lanes(memory.sums + index * of.units + u, own[v], lanes);
        }
      });
      from = to;
    }
  }

  // From the sums to the gradients of the weight of the product, of the scales and of the layer.
  void pass() const {
    const EncodedRows<T>& of = args.of;
    const Index dim = of.dim, ends = ends_of(column);
    const T* const rows = memory.rows + first_end(column) * dim;
    const T* const scale = scale_of(of, m, column);
    const T* const weight = of.weight + column.first * of.ld_weight;
    scale_columns(rows, scale, ends, dim, memory.scaled);
    multiply<T>({memory.scaled, 1, dim}, dim, memory.sums, of.units, ends, of.units,
                args.grad_weight + column.first * of.ld_weight, of.ld_weight, true);
    if (args.grad_scale == nullptr && args.grad_linear == nullptr) return;
    dots(memory.sums, of.units, ends, weight, of.ld_weight, dim, of.units, memory.products);
    T* const grad_rows = memory.grad_rows + first_end(column) * dim;
    for_each_vector<T>(dim, [&](Index d, int lanes) {
      Vec<T> of_scale{};
      for (Index k = 0; k < ends; ++k) {
        const Vec<T> product = load_lanes(memory.products + k * dim + d, lanes);
        of_scale += product * load_lanes(rows + k * dim + d, lanes);
        const Vec<T> scaled = scale == nullptr ? product : product * load_lanes(scale + d, lanes);
        store_lanes(grad_rows + k * dim + d, load_lanes(grad_rows + k * dim + d, lanes) + scaled, lanes);
      }
      if (args.grad_scale == nullptr) return;
      T* const to = args.grad_scale + m * of.width + column.first + d;
      store_lanes(to, load_lanes(to, lanes) + of_scale, lanes);
    });
  }
};

// The rows of the layer of a column, in the order of its ends; from them, or back to the gradients.
template <class T>
inline void gather_layer(const EncodedRows<T>& of, const EncodedColumn& column, T* rows) {
  const Index dim = of.dim;
  copy_row(of.layers.weight + column.start * dim, rows, column.bins * dim);
  copy_row(of.layers.bias + column.layer * dim, rows + column.bins * dim, dim);
  copy_row(of.layers.linear + column.layer * dim, rows + (column.bins + 1) * dim, dim);
}

template <class T>
inline void give_layer(const EncodedGradientArgs<T>& args, const EncodedColumn& column, const T* rows) {
  const Index dim = args.of.dim;
  if (args.grad_linear == nullptr) return;
  copy_row(rows, args.grad_bins + column.start * dim, column.bins * dim);
  copy_row(rows + column.bins * dim, args.grad_bias + column.layer * dim, dim);
  copy_row(rows + (column.bins + 1) * dim, args.grad_linear + column.layer * dim, dim);
}

// Sums are over blocks of rows, in each over the members, in each by index and in the order of the rows, as in encoded_gradient.
template <class T>
void gradient_of_ladders(const EncodedGradientArgs<T>& args) {
  const EncodedRows<T>& of = args.of;
  const LadderMemory<T> memory(of, args.suffix);
  SortedRows sorted[kSortedColumns];
  if (args.begin >= args.end) return;
  clear_gradients(args);
  for (Index group = args.begin; group < args.end; group += kSortedColumns) {
    const Index group_end = group + kSortedColumns < args.end ? group + kSortedColumns : args.end;
    for (Index f = group; f < group_end; ++f) {
      gather_layer(of, of.columns[f], memory.rows + first_end(of.columns[f]) * of.dim);
      clear_row(memory.grad_rows + first_end(of.columns[f]) * of.dim, ends_of(of.columns[f]) * of.dim);
    }
    for (Index first = 0; first < of.rows; first += kSortedRows) {
      const int n = static_cast<int>(of.rows - first < kSortedRows ? of.rows - first : kSortedRows);
      for (Index f = group; f < group_end; ++f) {
        const Index bins = of.columns[f].bins;
        sort_by_index(of, first, n, f, bins > 0 ? bins : 1, sorted[f - group]);
      }
      for (Index m = 0; m < of.members; ++m) {
        for (Index f = group; f < group_end; ++f) {
          const LadderOfMember<T> part{args, of.columns[f], sorted[f - group], memory, f, m, first, n};
          part.sum();
          part.pass();
        }
      }
    }
    for (Index f = group; f < group_end; ++f) {
      give_layer(args, of.columns[f], memory.grad_rows + first_end(of.columns[f]) * of.dim);
    }
  }
}

// ---- of any columns ----

template <class T>
void encoded_product(const EncodedDenseArgs<T>& args) noexcept {
  args.of.layers.count > 0 ? product_of_ladders(args) : encoded_dense(args);
}

template <class T>
void encoded_product_gradient(const EncodedGradientArgs<T>& args) noexcept {
  args.of.layers.count > 0 ? gradient_of_ladders(args) : encoded_gradient(args);
}
