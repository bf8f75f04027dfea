// Products of members with weights of a few columns. Reading x takes most of their time, so each row is read once.

template <class T>
void narrow_product(const NarrowArgs<T>& args) noexcept {
  const bool one = args.input_members == 1;
  for (Index i = 0; i < args.rows; ++i) {
    for (Index m = 0; m < args.members; ++m) {
      const T* const x = args.x + (one ? i : i * args.members + m) * args.ldx;
      T* const out = args.output + (i * args.members + m) * args.ld_output;
      for (Index u = 0; u < args.units; ++u) {
        const T* const weight = args.weight + (m * args.units + u) * args.ld_weight;
        const T sum = row_sum<T>(
            args.cols, [&](Index j, int lanes) { return load_lanes(x + j, lanes) * load_lanes(weight + j, lanes); });
        out[u] = args.bias == nullptr ? sum : sum + args.bias[m * args.ld_bias + u];
      }
    }
  }
}

template <class T>
void narrow_input_gradient(const NarrowArgs<T>& args) noexcept {
  for (Index i = 0; i < args.rows; ++i) {
    for (Index m = 0; m < args.members; ++m) {
      const T* const grad = args.grad + (i * args.members + m) * args.ld_grad;
      const T* const weight = args.weight + m * args.units * args.ld_weight;
      T* const out = args.output + (i * args.members + m) * args.ld_output;
      for_each_vector<T>(args.cols, [&](Index j, int lanes) {
        Vec<T> sum = grad[0] * load_lanes(weight + j, lanes);
        for (Index u = 1; u < args.units; ++u) sum = add_scaled(sum, grad[u], weight + u * args.ld_weight + j, lanes);
        store_lanes(out + j, sum, lanes);
      });
    }
  }
}

// Each element is added up from the first row to the last.
template <class T, int kUnits>
inline void narrow_weight_gradient_of(const NarrowArgs<T>& args) {
  for_each_group_of_vectors<T, 8 / kUnits>(args.cols, [&]<int kWidth>(Index j, int lanes) {
    Vec<T> sum[kUnits][kWidth] = {};
    for (Index i = 0; i < args.rows; ++i) {
      const T* const x = args.x + i * args.ldx + j;
      const T* const grad = args.grad + i * args.ld_grad;
      STOOP_UNROLL
      for (int v = 0; v < kWidth; ++v) {
        STOOP_UNROLL
        for (int u = 0; u < kUnits; ++u) sum[u][v] = add_scaled(sum[u][v], grad[u], x + v * kLanes<T>, lanes);
      }
    }
    STOOP_UNROLL
    for (int v = 0; v < kWidth; ++v) {
      for (int lane = 0; lane < lanes; ++lane) {
        T* const out = args.output + (j + v * kLanes<T> + lane) * args.ld_output;
        STOOP_UNROLL
        for (int u = 0; u < kUnits; ++u) out[u] = sum[u][v][lane];
      }
    }
  });
}

template <class T>
void narrow_weight_gradient(const NarrowArgs<T>& args) noexcept {
  if (args.units == 1) return narrow_weight_gradient_of<T, 1>(args);
  if (args.units == 2) return narrow_weight_gradient_of<T, 2>(args);
  if (args.units == 3) return narrow_weight_gradient_of<T, 3>(args);
  narrow_weight_gradient_of<T, 4>(args);
}
