// What follows a product, for every text that computes one: activation, or the derivative of one.

// The epilogue but for the bias, on rows x cols of c from (i, j) on.
template <class T>
inline void finish_tile(const GemmArgs<T>& g, Index i, Index rows, Index j, Index cols) {
  const int kind = static_cast<int>(g.activation);
  T* c = g.c + i * g.ldc + j;
  if (g.epilogue == Epilogue::activate) {
    kActivationForward<T>[kind]({rows, cols, c, g.ldc, c, g.ldc, g.activation_parameter});
  } else {
    kActivationBackward<T>[kind]({rows, cols, g.gate + i * g.ld_gate + j, g.ld_gate, c, g.ldc, g.activation_parameter});
  }
}

// The sums of a batch normalisation of columns [j, j + cols) of c, all rows of g.
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

// `count` rows of c from row i on, with what belongs to them; `sums` is where theirs are described.
template <class T>
inline GemmArgs<T> rows_of(const GemmArgs<T>& g, Index i, Index count, BatchNormArgs<T>& sums) {
  GemmArgs<T> rows = g;
  rows.m = count;
  rows.a += g.form == GemmForm::tn ? i : i * g.lda;
  rows.c += i * g.ldc;
  if (g.gate != nullptr) rows.gate += i * g.ld_gate;
  if (g.sums == nullptr) return rows;
  sums = *g.sums;
  sums.first_row += i;
  if (g.form == GemmForm::nt) sums.input += i * sums.ld_input;
  rows.sums = &sums;
  return rows;
}

// The whole epilogue on a product that another provider has left in c.
template <class T>
void gemm_epilogue(const GemmArgs<T>& g) noexcept {
  if (g.bias != nullptr) {
    for (Index i = 0; i < g.m; ++i) {
      T* c = g.c + i * g.ldc;
      for_each_vector<T>(g.n, [&](Index j, int lanes) {
        store_lanes(c + j, load_lanes(c + j, lanes) + load_lanes(g.bias + j, lanes), lanes);
      });
    }
  }
  if (g.epilogue != Epilogue::none && g.activation != ActivationKind::identity) finish_tile(g, 0, g.m, 0, g.n);
  if (g.sums != nullptr) finish_panel(g, 0, g.n);
}
