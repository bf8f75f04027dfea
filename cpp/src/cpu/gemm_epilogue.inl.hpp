// The epilogue of a product, for every provider: activation, or the derivative of one; dropout; the sums of a batch
// normalisation. The sums are taken by panels of all rows, and the rest is done tile by tile.

// Returns whether finish_tile has anything to do. `activated`: the activation is in c already.
template <class T>
inline bool needs_finish(const GemmArgs<T>& g, bool activated) {
  if (g.dropout != nullptr) return true;
  return !activated && g.epilogue != Epilogue::none && g.activation != kind_of<Identity>();
}

template <class T>
inline void drop_tile(const GemmArgs<T>& g, Index i, Index rows, Index j, Index cols) {
  DropoutArgs<T> part = *g.dropout;
  part.rows = rows;
  part.cols = cols;
  part.column += j;
  part.mask += i * part.ld_mask;
  part.output += i * part.ld_output + j;
  apply_mask(part, g.c + i * g.ldc + j, g.ldc);
}

// Applies the epilogue, except the bias and the sums, to rows x cols of c from (i, j) on. Dropout comes after an activation,
// so in the backward pass it comes before the derivative.
template <class T>
inline void finish_tile(const GemmArgs<T>& g, Index i, Index rows, Index j, Index cols, bool activated) {
  const int kind = static_cast<int>(g.activation);
  const bool forward = g.epilogue == Epilogue::activate;
  const bool does_nothing = activated || g.activation == kind_of<Identity>();
  T* c = g.c + i * g.ldc + j;
  if (g.dropout != nullptr && !forward) drop_tile(g, i, rows, j, cols);
  if (forward && !does_nothing) {
    kActivations<T>.forward[kind]({rows, cols, c, g.ldc, c, g.ldc, g.activation_numbers});
  } else if (g.epilogue == Epilogue::gate && !does_nothing) {
    kActivations<T>.backward[kind]({rows, cols, g.gate + i * g.ld_gate + j, g.ld_gate, c, g.ldc, g.activation_numbers});
  }
  if (g.dropout != nullptr && forward) drop_tile(g, i, rows, j, cols);
}

// Takes the sums of a batch normalisation over columns [j, j + cols) of c, with all rows of g.
template <class T>
inline void finish_panel(const GemmArgs<T>& g, Index j, Index cols) {
  BatchNormArgs<T> part = *g.sums;
  part.rows = g.m;
  part.cols = cols;
  part.partials += j;
  if (g.form == GemmForm::nn) {
    part.input = g.c + j;
    part.ld_input = g.ldc;
    return batch_norm_moments(part);
  }
  part.input += j;
  part.gamma += j;
  part.beta += j;
  part.mean += j;
  part.variance += j;
  part.output = g.c + j;
  part.ld_output = g.ldc;
  batch_norm_sums(part);
}

// Where what belongs to some rows of a product is described.
template <class T>
struct EpilogueParts {
  BatchNormArgs<T> sums;
  DropoutArgs<T> dropout;
};

// Describes `count` rows of c from row i on, and what belongs to them.
template <class T>
inline GemmArgs<T> rows_of(const GemmArgs<T>& g, Index i, Index count, EpilogueParts<T>& parts) {
  GemmArgs<T> rows = g;
  rows.m = count;
  rows.a += g.form == GemmForm::tn ? i : i * g.lda;
  rows.c += i * g.ldc;
  if (g.gate != nullptr) rows.gate += i * g.ld_gate;
  if (g.dropout != nullptr) {
    parts.dropout = *g.dropout;
    parts.dropout.mask += i * g.dropout->ld_mask;
    parts.dropout.output += i * g.dropout->ld_output;
    rows.dropout = &parts.dropout;
  }
  if (g.sums != nullptr) {
    parts.sums = *g.sums;
    parts.sums.first_row += i;
    if (g.form == GemmForm::nt) parts.sums.input += i * g.sums->ld_input;
    rows.sums = &parts.sums;
  }
  return rows;
}

// Applies the whole epilogue to a product that another provider has left in c, a few rows at a time.
template <class T>
void gemm_epilogue(const GemmArgs<T>& g) noexcept {
  constexpr Index kRows = 8;
  for (Index first = 0; first < g.m; first += kRows) {
    const Index rows = g.m - first < kRows ? g.m - first : kRows;
    for (Index i = first; g.bias != nullptr && i < first + rows; ++i) {
      T* c = g.c + i * g.ldc;
      for_each_vector<T>(g.n, [&](Index j, int lanes) {
        store_lanes(c + j, load_lanes(c + j, lanes) + load_lanes(g.bias + j, lanes), lanes);
      });
    }
    if (needs_finish(g, false)) finish_tile(g, first, rows, 0, g.n, false);
  }
  if (g.sums != nullptr) finish_panel(g, 0, g.n);
}
