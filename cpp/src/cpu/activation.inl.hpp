// Activations and their derivatives, elementwise. The derivative is computed from what `saves` names: the output y
// wherever it determines the derivative, so that a product's epilogue can overwrite its input, else the input x.
//
//   kind        f(x)                      saves  f'(x)                       source
//   relu        max(0, x)                 y      1 for y > 0, else 0         Glorot, Bordes & Bengio 2011, section 3
//   leaky_relu  x, slope*x for x < 0      y      1 for y > 0, else slope     Maas, Hannun & Ng 2013, eq. 2
//   tanh        tanh(x)                   y      1 - y^2                     LeCun et al. 1998, section 4.4
//   sigmoid     1 / (1 + exp(-x))         y      y * (1 - y)
//   elu         x, a*expm1(x) for x <= 0  y      1 for y > 0, else y + a     Clevert et al. 2016, section 3
//   gelu        x * Phi(x)                x      Phi(x) + x * phi(x)         Hendrycks & Gimpel 2016, eq. 1
//   silu        x * sigmoid(x)            x      s * (1 + x * (1 - s))       Elfwing 2018; Ramachandran 2017
//   softplus    log(1 + exp(x))           y      1 - exp(-y)                 Dugas et al. 2001; Glorot et al. 2011
//   selu        s*x, s*a*expm1(x) for x <= 0  y  s for y > 0, else y + s*a   Klambauer et al. 2017, eq. 2
//   mish        x * w, w = tanh(log(1 + exp(x)))  x  w + x * (1 - w^2) * sigmoid(x)   Misra 2019, eq. 2
//   hard_swish  0, x*(x+3)/6, x from -3, from 3  x  0, (2x+3)/6, 1       Howard et al. 2019, section 5.2
//   relu6       min(max(0, x), 6)         y      1 for 0 < y < 6, else 0     Krizhevsky 2010, section 2.2
//
// Phi and phi: the standard normal distribution function, exact by erfc, and density. s: sigmoid(x). slope and a, both
// >= 0, are numbers of LeakyReLU and ELU. Forward is within 3 ulp for every x (gelu: 8, by tanh 12|u| more; mish: 5), except
// that silu is -0 where exp(-x) overflows (-2e-37 at x = -89 in float). Derivatives, which have zeros, are right to a few ulp
// of 1. Limits at +-inf are exact.
// Memory-bound up to leaky_relu: 2 streams forward, 3 backward. The others are bound by arithmetic while in cache.

// What is computed for an alternative of Activation, Loss or Optimizer. That of an activation or a loss is one for each
// element type T; that of an optimizer has a template for all.
template <class Op, class T = void>
struct Formula;

// That of an activation has
//   value(x, op)          f(x)
//   gate(grad, saved, op) grad * f'(x), given what Spec<Op>::kSaves says
//   curvature(x, y, op)   f''(x), with y = f(x), for Hessian-vector products
// One without any of them does not compile.

// Returns the alternative that has these numbers.
template <class Op, class Variant>
inline Op op_from(const Numbers<Variant>& numbers) {
  Op op{};
  [&]<size_t... i>(std::index_sequence<i...>) {
    ((op.*kMember<Op, i> = static_cast<MemberOf<Op, i>>(numbers.of[i])), ...);
  }(std::make_index_sequence<kFieldCount<Op>>());
  return op;
}

template <class T>
inline Vec<T> softplus(Vec<T> x) {
  // log(1 + exp(x)) without overflow, and without cancellation at either end.
  return maximum<T>(Vec<T>{}, x) + vector_log1p_of_fraction<T>(vector_exp<T>(-absolute<T>(x)));
}

// x * Phi(x) = max(x, 0) - |x| * (1 - Phi(|x|)). The second term is at most half of x, so nothing cancels.
template <class T>
inline Vec<T> gelu(Vec<T> x) {
  const NormalTail<T> tail = normal_tail<T>(x);
  return maximum<T>(Vec<T>{}, x) - (tail.t * tail.ratio) * tail.density;
}

// The derivative d at -|x|; at |x| it is 1 - d.
template <class T>
inline Vec<T> gelu_derivative(Vec<T> x) {
  const T kInverseSqrtTwoPi = static_cast<T>(0.39894228040143267794);
  const NormalTail<T> tail = normal_tail<T>(x);
  const Vec<T> d = tail.density * (tail.ratio - tail.t * kInverseSqrtTwoPi);
  return x < T(0) ? d : T(1) - d;
}

// x is kept from -inf, where the quotient would be -inf / inf.
template <class T>
inline Vec<T> silu(Vec<T> x) {
  return maximum<T>(broadcast(ExpConstants<T>::kLowest), x) / (T(1) + vector_exp<T>(-x));
}

template <class T>
inline Vec<T> silu_derivative(Vec<T> x) {
  const T limit = -ExpConstants<T>::kLowest;
  const Vec<T> clamped = minimum<T>(broadcast(limit), maximum<T>(broadcast(-limit), x));
  const Vec<T> e = vector_exp<T>(-absolute<T>(clamped));
  const Vec<T> larger = T(1) / (T(1) + e), smaller = e * larger;  // sigmoid(|x|) and 1 - sigmoid(|x|)
  const auto negative = clamped < T(0);
  return (negative ? smaller : larger) * (T(1) + clamped * (negative ? larger : smaller));
}

// For functions that are linear on each side of 0.
template <class T>
struct NoCurvature {
  static Vec<T> curvature(Vec<T>, Vec<T>, const auto&) { return Vec<T>{}; }
};

template <class T>
struct Formula<Identity, T> : NoCurvature<T> {
  static Vec<T> value(Vec<T> x, const Identity&) { return x; }
  static Vec<T> gate(Vec<T> grad, Vec<T>, const Identity&) { return grad; }
};

template <class T>
struct Formula<ReLU, T> : NoCurvature<T> {
  static Vec<T> value(Vec<T> x, const ReLU&) { return maximum<T>(Vec<T>{}, x); }
  static Vec<T> gate(Vec<T> grad, Vec<T> y, const ReLU&) { return y > Vec<T>{} ? grad : Vec<T>{}; }
};

template <class T>
struct Formula<LeakyReLU, T> : NoCurvature<T> {
  static Vec<T> value(Vec<T> x, const LeakyReLU& op) {
    return x < Vec<T>{} ? x * static_cast<T>(op.negative_slope) : x;
  }
  static Vec<T> gate(Vec<T> grad, Vec<T> y, const LeakyReLU& op) {
    return y > Vec<T>{} ? grad : grad * static_cast<T>(op.negative_slope);
  }
};

template <class T>
struct Formula<Tanh, T> {
  static Vec<T> value(Vec<T> x, const Tanh&) { return vector_tanh<T>(x); }
  static Vec<T> gate(Vec<T> grad, Vec<T> y, const Tanh&) { return grad - grad * (y * y); }
  static Vec<T> curvature(Vec<T>, Vec<T> y, const Tanh&) { return T(-2) * y * (T(1) - y * y); }
};

template <class T>
struct Formula<Sigmoid, T> {
  static Vec<T> value(Vec<T> x, const Sigmoid&) { return vector_sigmoid<T>(x); }
  static Vec<T> gate(Vec<T> grad, Vec<T> y, const Sigmoid&) { return grad * (y - y * y); }
  static Vec<T> curvature(Vec<T>, Vec<T> y, const Sigmoid&) { return (y - y * y) * (T(1) - T(2) * y); }
};

template <class T>
struct Formula<ELU, T> {
  static Vec<T> value(Vec<T> x, const ELU& op) {
    return x > Vec<T>{} ? x : static_cast<T>(op.alpha) * vector_expm1<T>(x);
  }
  static Vec<T> gate(Vec<T> grad, Vec<T> y, const ELU& op) {
    return y > Vec<T>{} ? grad : grad * (y + static_cast<T>(op.alpha));
  }
  static Vec<T> curvature(Vec<T> x, Vec<T> y, const ELU& op) {
    return x > Vec<T>{} ? Vec<T>{} : y + static_cast<T>(op.alpha);
  }
};

// With a tanh in place of erf, x * (1 + tanh(u)) / 2 = x * s, s = sigmoid(v), v = 2u (Hendrycks & Gimpel 2016, section 2):
// v = 2 sqrt(2/pi) (x + 0.044715 x^3), with its derivatives. x is kept from both ends, where s rounds to 0 or 1.
template <class T>
struct TanhGelu {
  Vec<T> x, s, rest, first, second;  // rest: 1 - s; first and second derivative of v

  static TanhGelu at(Vec<T> given) {
    constexpr T kFactor = static_cast<T>(1.5957691216057307117), kCubic = static_cast<T>(0.044715);
    const T limit = -ExpConstants<T>::kLowest;
    const Vec<T> x = minimum<T>(broadcast(limit), maximum<T>(broadcast(-limit), given)), square = x * x;
    const Vec<T> v = kFactor * x * (T(1) + kCubic * square);
    return {x, vector_sigmoid<T>(v), vector_sigmoid<T>(-v), kFactor * (T(1) + T(3) * kCubic * square),
            T(6) * kFactor * kCubic * x};
  }
  static Vec<T> value(Vec<T> given) { return maximum<T>(broadcast(ExpConstants<T>::kLowest), given) * at(given).s; }
  Vec<T> derivative() const { return s + x * (s * rest) * first; }
  Vec<T> curvature() const { return s * rest * (T(2) * first + x * ((rest - s) * first * first + second)); }
};

template <class T>
struct Formula<GELU, T> {
  static bool by_tanh(const GELU& op) { return op.approximate == GeluApproximation::tanh; }
  static Vec<T> value(Vec<T> x, const GELU& op) { return by_tanh(op) ? TanhGelu<T>::value(x) : gelu<T>(x); }
  static Vec<T> gate(Vec<T> grad, Vec<T> x, const GELU& op) {
    return grad * (by_tanh(op) ? TanhGelu<T>::at(x).derivative() : gelu_derivative<T>(x));
  }
  static Vec<T> curvature(Vec<T> x, Vec<T>, const GELU& op) {  // exact: phi(x) * (2 - x^2)
    if (by_tanh(op)) return TanhGelu<T>::at(x).curvature();
    const NormalTail<T> tail = normal_tail<T>(x);
    return static_cast<T>(0.39894228040143267794) * tail.density * (T(2) - tail.t * tail.t);
  }
};

template <class T>
struct Formula<SiLU, T> {
  static Vec<T> value(Vec<T> x, const SiLU&) { return silu<T>(x); }
  static Vec<T> gate(Vec<T> grad, Vec<T> x, const SiLU&) { return grad * silu_derivative<T>(x); }
  static Vec<T> curvature(Vec<T> x, Vec<T>, const SiLU&) {  // s (1 - s) (2 + x (1 - 2 s))
    const T limit = -ExpConstants<T>::kLowest;              // beyond, s (1 - s) is 0 and x could be infinite
    const Vec<T> clamped = minimum<T>(broadcast(limit), maximum<T>(broadcast(-limit), x));
    const Vec<T> s = vector_sigmoid<T>(clamped), rest = vector_sigmoid<T>(-clamped);
    return s * rest * (T(2) + clamped * (rest - s));
  }
};

template <class T>
struct Formula<Softplus, T> {
  static Vec<T> value(Vec<T> x, const Softplus&) { return softplus<T>(x); }
  static Vec<T> gate(Vec<T> grad, Vec<T> y, const Softplus&) { return -grad * vector_expm1<T>(-y); }
  static Vec<T> curvature(Vec<T> x, Vec<T>, const Softplus&) { return vector_sigmoid<T>(x) * vector_sigmoid<T>(-x); }
};

// Klambauer et al. 2017, appendix A: the fixed point of mean 0 and variance 1.
template <class T>
struct Formula<SELU, T> {
  static constexpr T kScale = static_cast<T>(1.0507009873554804934);
  static constexpr T kLimit = static_cast<T>(1.0507009873554804934 * 1.6732632423543772848);  // scale * alpha
  static Vec<T> value(Vec<T> x, const SELU&) { return x > Vec<T>{} ? kScale * x : kLimit * vector_expm1<T>(x); }
  static Vec<T> gate(Vec<T> grad, Vec<T> y, const SELU&) {
    return grad * (y > Vec<T>{} ? broadcast(kScale) : y + kLimit);
  }
  static Vec<T> curvature(Vec<T> x, Vec<T> y, const SELU&) { return x > Vec<T>{} ? Vec<T>{} : y + kLimit; }
};

// With e = exp(x) and n = e * (e + 2), mish's w = tanh(log(1 + e)) is n / (n + 2). Beyond `kOne` w rounds to 1; x is kept
// from both ends, where e would overflow and x * w be -inf * 0.
template <class T>
struct MishParts {
  static constexpr T kOne = sizeof(T) == 4 ? T(20) : T(40);
  Vec<T> x, e, w, rest;  // rest: 1 / (n + 2)

  static MishParts at(Vec<T> x) {
    const Vec<T> clamped = minimum<T>(broadcast(kOne), maximum<T>(broadcast(ExpConstants<T>::kLowest), x));
    const Vec<T> e = vector_exp<T>(clamped), n = e * (e + T(2)), rest = T(1) / (n + T(2));
    return {clamped, e, n * rest, rest};
  }
};

template <class T>
struct Formula<Mish, T> {
  static Vec<T> value(Vec<T> x, const Mish&) {
    return maximum<T>(broadcast(ExpConstants<T>::kLowest), x) * MishParts<T>::at(x).w;
  }
  // (1 - w^2) * sigmoid(x) = 4 e (1 + e) / (n + 2)^2.
  static Vec<T> gate(Vec<T> grad, Vec<T> x, const Mish&) {
    const MishParts<T> m = MishParts<T>::at(x);
    return grad * (m.w + m.x * (T(4) * (m.e * m.rest) * ((T(1) + m.e) * m.rest)));
  }
  // (1 - w^2) s (2 + x ((1 - s) - 2 w s)), s = sigmoid(x).
  static Vec<T> curvature(Vec<T> x, Vec<T>, const Mish&) {
    const MishParts<T> m = MishParts<T>::at(x);
    const Vec<T> slope = T(4) * (m.e * m.rest) * ((T(1) + m.e) * m.rest);
    const Vec<T> s = vector_sigmoid<T>(m.x), other = vector_sigmoid<T>(-m.x);
    return slope * (T(2) + m.x * (other - T(2) * m.w * s));
  }
};

template <class T>
struct Formula<HardSwish, T> {
  static constexpr T kSixth = static_cast<T>(1.0 / 6.0);
  static Vec<T> value(Vec<T> x, const HardSwish&) {
    return x <= T(-3) ? Vec<T>{} : (x >= T(3) ? x : x * (x + T(3)) * kSixth);
  }
  static Vec<T> gate(Vec<T> grad, Vec<T> x, const HardSwish&) {
    return grad * (x <= T(-3) ? Vec<T>{} : (x >= T(3) ? broadcast(T(1)) : (x + x + T(3)) * kSixth));
  }
  static Vec<T> curvature(Vec<T> x, Vec<T>, const HardSwish&) {
    return absolute<T>(x) < T(3) ? broadcast(T(2) * kSixth) : Vec<T>{};
  }
};

template <class T>
struct Formula<ReLU6, T> : NoCurvature<T> {
  static Vec<T> value(Vec<T> x, const ReLU6&) { return minimum<T>(broadcast(T(6)), maximum<T>(Vec<T>{}, x)); }
  static Vec<T> gate(Vec<T> grad, Vec<T> y, const ReLU6&) {
    return y > Vec<T>{} ? (y < T(6) ? grad : Vec<T>{}) : Vec<T>{};
  }
};

// ---- kernels, made of these for each alternative ----

template <class T, class Op>
void activation_forward(const ActivationArgs<T>& args) noexcept {
  const Op op = op_from<Op>(args.numbers);
  for (Index i = 0; i < args.rows; ++i) {
    const T* x = args.input + i * args.ld_input;
    T* y = args.output + i * args.ld_output;
    for_each_vector<T>(args.cols, [&](Index j, int lanes) {
      store_lanes(y + j, Formula<Op, T>::value(load_lanes(x + j, lanes), op), lanes);
    });
  }
}

template <class T, class Op>
void activation_backward(const ActivationArgs<T>& args) noexcept {
  const Op op = op_from<Op>(args.numbers);
  for (Index i = 0; i < args.rows; ++i) {
    const T* saved = args.input + i * args.ld_input;
    T* grad = args.output + i * args.ld_output;
    for_each_vector<T>(args.cols, [&](Index j, int lanes) {
      store_lanes(grad + j, Formula<Op, T>::gate(load_lanes(grad + j, lanes), load_lanes(saved + j, lanes), op), lanes);
    });
  }
}

template <class T, class Op>
void activation_tangent(const ActivationTangentArgs<T>& args) noexcept {
  const Op op = op_from<Op>(args.numbers);
  for (Index i = 0; i < args.rows; ++i) {
    for_each_vector<T>(args.cols, [&](Index j, int lanes) {
      const Vec<T> x = load_lanes(args.x + i * args.ld_x + j, lanes);
      const Vec<T> y = Formula<Op, T>::value(x, op);
      const Vec<T> input = load_lanes(args.input + i * args.ld_input + j, lanes);
      Vec<T> out = Formula<Op, T>::gate(input, Spec<Op>::kSaves == Saves::input ? x : y, op);
      if (args.grad != nullptr && args.tangent != nullptr) {
        out += Formula<Op, T>::curvature(x, y, op) * load_lanes(args.tangent + i * args.ld_tangent + j, lanes) *
               load_lanes(args.grad + i * args.ld_grad + j, lanes);
      }
      store_lanes(args.output + i * args.ld_output + j, out, lanes);
    });
  }
}

// Indexed by ActivationKind.
template <class T>
struct ActivationKernels {
  void (*forward[kActivationCount])(const ActivationArgs<T>&) noexcept;
  void (*backward[kActivationCount])(const ActivationArgs<T>&) noexcept;
  void (*tangent[kActivationCount])(const ActivationTangentArgs<T>&) noexcept;
};

template <class T>
constexpr ActivationKernels<T> kActivations = [] {
  ActivationKernels<T> kernels{};
  for_each_alternative<Activation>([&]<class Op>(TypeOf<Op>) {
    constexpr int kind = kIndexIn<Op, Activation>;
    kernels.forward[kind] = activation_forward<T, Op>;
    kernels.backward[kind] = activation_backward<T, Op>;
    kernels.tangent[kind] = activation_tangent<T, Op>;
  });
  return kernels;
}();
