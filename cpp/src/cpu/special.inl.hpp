// The error function, and the functions of the normal distribution that GELU needs, on vectors.
// Both rest on S(t) = exp(t^2) * erfc(t), which is smooth and falls like 1/t: the tails keep their relative precision.
// Fits as in math.inl.hpp.

template <class T>
struct ErfConstants;
template <>
struct ErfConstants<float> {
  static constexpr int32_t kHighHalf = -0x1000;  // a mask of bits: the square of what it leaves is exact
  static constexpr float kErfLimit = 4.0f;       // beyond, erf rounds to 1
  static constexpr float kNormalLimit = 14.5f;   // beyond, exp(-x^2/2) is 0
  // erf(x)/x - 1 in x^2 on |x| <= 1, degree 6, error 2^-29.6.
  static constexpr float kErf[] = {7.853859e-05f, -0.0008010193f, 0.0051883277f, -0.026853811f,
                                   0.112835854f,  -0.37612626f,   0.12837917f};
  // (t + c) * S(t) in (t - c)/(t + c) on 0 <= t <= 10.4, degree 9, error 2^-28.7.
  static constexpr float kCentre = 3.0f;
  static constexpr float kTail[] = {-0.000324109f, -0.00048082392f, 0.003080814f, -0.0012276658f, -0.026840292f,
                                    0.11952928f,   -0.31046593f,    0.59022826f,  -0.8833945f,    1.0740069f};
};
template <>
struct ErfConstants<double> {
  static constexpr int64_t kHighHalf = -0x8000000;
  static constexpr double kErfLimit = 6.0;
  static constexpr double kNormalLimit = 38.7;
  // The same, degree 11, error 2^-56.9.
  static constexpr double kErf[] = {-7.779465816070692e-10, 1.3710978771185197e-08,  -1.620631332905939e-07,
                                    1.6447131506868005e-06, -1.4924712295970096e-05, 0.00012055293576533761,
                                    -0.000854832592930003,  0.0052239776061181135,   -0.026866170643111413,
                                    0.11283791670944185,    -0.3761263890318352,     0.12837916709551256};
  // The same on 0 <= t <= 27.6, degree 22, error 2^-58.1.
  static constexpr double kCentre = 4.0;
  static constexpr double kTail[] = {
      1.0270141682525774e-09, -3.554935514186065e-10,  -1.5395246884199845e-08, 2.5417782568450446e-09,
      1.2390725119017325e-07, -7.790848199076119e-08,  -8.459553134733755e-07,  1.4260559017224052e-06,
      4.694292368864317e-06,  -1.8861774071600578e-05, -3.635133362358189e-06,  0.0001768130852194625,
      -0.0004550526929561877, -0.0002809589158511466,  0.006112055657399882,    -0.026370053334599127,
      0.07638151490909398,    -0.17401093724029215,    0.3308515878780259,      -0.5408538313132248,
      0.7732087022652367,     -0.9765487290808821,     1.095995661000491};
};

// S(t) for 0 <= t <= kNormalLimit / sqrt(2).
template <class T>
inline Vec<T> scaled_erfc(Vec<T> t) {
  using C = ErfConstants<T>;
  const Vec<T> inverse = T(1) / (t + C::kCentre);
  return polynomial<T>((t - C::kCentre) * inverse, C::kTail) * inverse;
}

// Returns exp(-factor * t^2) for factor 1 or 1/2. A rounded t^2 would cost up to t^2 ulp of the result, so it is split into
// an exact part, the square of the leading bits, and a small rest.
template <class T>
inline Vec<T> exp_negative_square(Vec<T> t, T factor) {
  using C = ExpConstants<T>;
  const Vec<T> high = (Vec<T>)((IntVec<T>)t & ErfConstants<T>::kHighHalf);
  const Vec<T> square = high * high * -factor;
  const Vec<T> rest = (t - high) * (t + high) * -factor;
  Reduced<T> s;
  s.n = ((square + rest) * static_cast<T>(1.44269504088896340736) + C::kRound) - C::kRound;
  s.r = ((square - s.n * C::kLn2High) - s.n * C::kLn2Low) + rest;
  return exp_of_reduced<T>(s);
}

// Computes x * P(x^2) up to |x| = 1, and 1 - exp(-x^2) * S(|x|) beyond. If denormals are flushed and there is no fused
// multiply-add, x * (P - 1) is lost within 8 times the least normal number of zero.
template <class T>
inline Vec<T> vector_erf(Vec<T> x) {
  using C = ErfConstants<T>;
  const Vec<T> t = minimum<T>(broadcast(C::kErfLimit), absolute<T>(x));
  const Vec<T> small = x + x * polynomial<T>(t * t, C::kErf);
  const Vec<T> large = T(1) - exp_negative_square<T>(t, T(1)) * scaled_erfc<T>(t);
  return t < T(1) ? small : with_sign_of<T>(large, x);
}

// Computes two values of the standard normal distribution for t = |x| (at most kNormalLimit): density = exp(-t^2/2), which
// is still to be divided by sqrt(2 pi), and ratio, so that the probability beyond t is density * ratio.
template <class T>
struct NormalTail {
  Vec<T> t, density, ratio;
};

template <class T>
inline NormalTail<T> normal_tail(Vec<T> x) {
  const Vec<T> t = minimum<T>(broadcast(ErfConstants<T>::kNormalLimit), absolute<T>(x));
  const Vec<T> ratio = T(0.5) * scaled_erfc<T>(t * static_cast<T>(0.70710678118654752440));
  return {t, exp_negative_square<T>(t, T(0.5)), ratio};
}

// ---- the elementary functions by name, for tests and benchmarks ----
// y = f(x), n elements, in place if y == x.
template <class T, Elementary kFunction>
void elementary(Index n, const T* x, T* y) noexcept {
  for_each_vector<T>(n, [&](Index i, int lanes) {
    const Vec<T> v = load_lanes(x + i, lanes);
    Vec<T> result;
    if constexpr (kFunction == Elementary::exp) {
      result = vector_exp<T>(v);
    } else if constexpr (kFunction == Elementary::log) {
      result = vector_log<T>(v);
    } else if constexpr (kFunction == Elementary::log1p) {
      result = vector_log1p<T>(v);
    } else if constexpr (kFunction == Elementary::expm1) {
      result = vector_expm1<T>(v);
    } else if constexpr (kFunction == Elementary::tanh) {
      result = vector_tanh<T>(v);
    } else if constexpr (kFunction == Elementary::erf) {
      result = vector_erf<T>(v);
    } else {
      static_assert(kFunction == Elementary::sigmoid);
      result = vector_sigmoid<T>(v);
    }
    store_lanes(y + i, result, lanes);
  });
}

template <class T>
using ElementaryKernel = void (*)(Index n, const T* x, T* y) noexcept;

// Indexed by Elementary.
template <class T>
constexpr ElementaryKernel<T> kElementary[kElementaryCount] = {
    elementary<T, Elementary::exp>,    elementary<T, Elementary::log>,  elementary<T, Elementary::log1p>,
    elementary<T, Elementary::expm1>,  elementary<T, Elementary::tanh>, elementary<T, Elementary::erf>,
    elementary<T, Elementary::sigmoid>};
