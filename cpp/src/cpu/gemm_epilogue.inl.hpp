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
}
