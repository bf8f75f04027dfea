// exp, expm1, tanh, the logistic function, log and log1p on vectors, within 3 ulp for normal results (exp, log and
// log1p within 1; test_math.cpp measures them). Limits are exact: exp(-inf) = 0, exp(+inf) = inf, tanh(+-inf) = +-1,
// log(0) = -inf; NaN stays NaN. The sign of a zero may be lost. With denormals taken for zero, as in the training team,
// the log of a denormal is -inf.
//
// All polynomials are minimax fits of this project (Remez exchange with 60 digits, the coefficients then rounded);
// each is given with its interval, degree and largest error before rounding, relative to the function it is part of.

template <class T>
struct ExpConstants;
template <>
struct ExpConstants<float> {
  static constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to the nearest integer
  // ln2 in two parts, the high one with so few bits that its product with an exponent is exact.
  static constexpr float kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
  static constexpr float kLowest = -104.0f, kHighest = 89.0f;  // outside, the result is 0 or inf
  static constexpr float kLowestNormal = -87.0f;               // above it, the result is a normal number
  static constexpr float kTanhLimit = 10.0f;                   // beyond, tanh rounds to 1
  static constexpr int kMantissaBits = 23, kBias = 127;
  // (expm1(r) - r) / r^2 on |r| <= 0.347, degree 5, error 2^-31.9.
  static constexpr float kExpm1[] = {0.00019845889f, 0.0013940744f, 0.00833339f, 0.04166636f, 0.16666666f, 0.5f};
};
template <>
struct ExpConstants<double> {
  static constexpr double kRound = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr double kLn2High = 6.93147180369123816490e-01, kLn2Low = 1.90821492927058770002e-10;
  static constexpr double kLowest = -746.0, kHighest = 710.0;
  static constexpr double kLowestNormal = -708.0;
  static constexpr double kTanhLimit = 20.0;
  static constexpr int kMantissaBits = 52, kBias = 1023;
  // The same, degree 10, error 2^-61.7.
  static constexpr double kExpm1[] = {2.087532632221934e-09,
                                      2.5109107527392635e-08,
                                      2.7557403021913545e-07,
                                      2.7557244035339148e-06,
                                      2.480158717165884e-05,
                                      0.0001984126988626966,
                                      0.001388888888896304,
                                      0.008333333333321586,
                                      0.041666666666666505,
                                      0.16666666666666677,
                                      0.5};
};

constexpr double kExpm1Lowest = -50.0;  // below, expm1 rounds to -1

// Horner's rule, coefficients from the highest degree down.
template <class T, int kTerms>
inline Vec<T> polynomial(Vec<T> x, const T (&coefficients)[kTerms]) {
  Vec<T> p = broadcast(coefficients[0]);
  STOOP_UNROLL
  for (int i = 1; i < kTerms; ++i) p = p * x + coefficients[i];
  return p;
}

// ---- signs, which NaN keeps its own of ----
template <class T>
inline IntVec<T> sign_bit(Vec<T> x) {
  return (IntVec<T>)x & (IntVec<T>)broadcast(T(-0.0));
}

template <class T>
inline Vec<T> absolute(Vec<T> x) {
  return (Vec<T>)((IntVec<T>)x ^ sign_bit<T>(x));
}

// Returns magnitude >= 0 with the sign of x.
template <class T>
inline Vec<T> with_sign_of(Vec<T> magnitude, Vec<T> x) {
  return (Vec<T>)((IntVec<T>)magnitude | sign_bit<T>(x));
}

// ---- exp and its kin: x = n*ln2 + r with |r| <= ln2/2 (Cody & Waite 1980), expm1(r), then scaling by 2^n ----
template <class T>
struct Reduced {
  Vec<T> r, n;
};

template <class T>
inline Reduced<T> reduce_by_ln2(Vec<T> x) {
  using C = ExpConstants<T>;
  const Vec<T> n = (x * static_cast<T>(1.44269504088896340736) + C::kRound) - C::kRound;
  return {(x - n * C::kLn2High) - n * C::kLn2Low, n};
}

template <class T>
inline Vec<T> expm1_polynomial(Vec<T> r) {
  return polynomial<T>(r, ExpConstants<T>::kExpm1) * (r * r) + r;
}

// Returns 2^n for an integer-valued n in the range of normal numbers.
template <class T>
inline Vec<T> power_of_two(Vec<T> n) {
  using C = ExpConstants<T>;
  const Vec<T> shifted = n + (C::kRound + static_cast<T>(C::kBias));
  return (Vec<T>)((IntVec<T>)shifted << C::kMantissaBits);
}

template <class T>
inline Vec<T> exp_of_reduced(Reduced<T> s) {
  using C = ExpConstants<T>;
  const Vec<T> one_plus = expm1_polynomial<T>(s.r) + T(1);
  // 2^n is applied in two factors, because 2^n alone leaves the normal range at both ends.
  const Vec<T> half = (s.n * T(0.5) + C::kRound) - C::kRound;
  return (one_plus * power_of_two<T>(half)) * power_of_two<T>(s.n - half);
}

template <class T>
inline Vec<T> vector_exp(Vec<T> x) {
  using C = ExpConstants<T>;
  x = minimum<T>(broadcast(C::kHighest), maximum<T>(broadcast(C::kLowest), x));
  return exp_of_reduced<T>(reduce_by_ln2<T>(x));
}

// A cheaper exp(x) for x <= 0: results near the least normal number and below are 0, so that 2^n is one factor.
template <class T>
inline Vec<T> vector_exp_of_negative(Vec<T> x) {
  using C = ExpConstants<T>;
  const Reduced<T> s = reduce_by_ln2<T>(x);
  const Vec<T> result = (expm1_polynomial<T>(s.r) + T(1)) * power_of_two<T>(s.n);
  return x < C::kLowestNormal ? Vec<T>{} : result;
}

template <class T>
inline Vec<T> vector_expm1(Vec<T> x) {
  using C = ExpConstants<T>;
  x = minimum<T>(broadcast(C::kHighest), maximum<T>(broadcast(static_cast<T>(kExpm1Lowest)), x));
  const Reduced<T> s = reduce_by_ln2<T>(x);
  // The largest results need 2^(kBias + 1), which is not representable, so half of it is used and doubled at the end.
  const Vec<T> most = broadcast(static_cast<T>(C::kBias));
  const Vec<T> scale = power_of_two<T>(minimum<T>(s.n, most));
  const Vec<T> result = scale * expm1_polynomial<T>(s.r) + (scale - T(1));
  return s.n > most ? result + result : result;
}

// tanh(x) = e / (e + 2) with e = expm1(2x), which keeps full relative precision near zero.
template <class T>
inline Vec<T> vector_tanh(Vec<T> x) {
  using C = ExpConstants<T>;
  x = minimum<T>(broadcast(C::kTanhLimit), maximum<T>(broadcast(-C::kTanhLimit), x));
  const Reduced<T> s = reduce_by_ln2<T>(x + x);
  const Vec<T> scale = power_of_two<T>(s.n);
  const Vec<T> e = scale * expm1_polynomial<T>(s.r) + (scale - T(1));
  return e / (e + T(2));
}

// 1 / (1 + exp(-x)); where exp(-x) overflows the result, a denormal, is 0.
template <class T>
inline Vec<T> vector_sigmoid(Vec<T> x) {
  return T(1) / (T(1) + vector_exp<T>(-x));
}

// ---- log: x = 2^n * (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)); s = f / (2 + f) turns it into the odd series
// log(1 + f) = 2 atanh(s) = 2s + s^3 * L(s^2), here in a form whose leading term f is exact ----
template <class T>
struct LogConstants;
template <>
struct LogConstants<float> {
  typedef uint32_t Unsigned __attribute__((vector_size(kVectorBytes)));
  static constexpr int32_t kSqrtHalf = 0x3F3504F3, kOne = 0x3F800000, kRoundBits = 0x4B400000;  // as bits
  static constexpr float kLeastNormal = 1.17549435e-38f;
  static constexpr float kDenormalShift = 24.0f, kDenormalScale = 16777216.0f;
  // L on s^2 <= 0.02945, degree 2, error 2^-30.2.
  static constexpr float kLog[] = {0.2987152f, 0.39977553f, 0.66666776f};
};
template <>
struct LogConstants<double> {
  typedef uint64_t Unsigned __attribute__((vector_size(kVectorBytes)));
  static constexpr int64_t kSqrtHalf = 0x3FE6A09E667F3BCD, kOne = 0x3FF0000000000000, kRoundBits = 0x4338000000000000;
  static constexpr double kLeastNormal = 2.2250738585072014e-308;
  static constexpr double kDenormalShift = 53.0, kDenormalScale = 9007199254740992.0;
  // The same, degree 6, error 2^-59.5.
  static constexpr double kLog[] = {0.14796148372963866, 0.15314035232241366, 0.1818356474076051, 0.22222198568886092,
                                    0.28571428742392346, 0.3999999999941483,  0.6666666666666734};
};

// Returns n * log(2) + log(1 + f) + tail for sqrt(1/2) <= 1 + f <= sqrt(2), with f to its last digit.
template <class T>
inline Vec<T> log_of_reduced(Vec<T> f, Vec<T> n, Vec<T> tail) {
  using E = ExpConstants<T>;
  const Vec<T> s = f / (f + T(2));
  const Vec<T> z = s * s;
  const Vec<T> half_square = T(0.5) * (f * f);
  const Vec<T> rest = s * (half_square + z * polynomial<T>(z, LogConstants<T>::kLog)) + (n * E::kLn2Low + tail);
  return n * E::kLn2High + (f - (half_square - rest));
}

// Returns log(x) + tail for a normal x > 0 and a tail no larger than that of one ulp of x. `shift` is subtracted from n.
template <class T>
inline Vec<T> log_plus(Vec<T> x, Vec<T> tail, Vec<T> shift) {
  using C = LogConstants<T>;
  using E = ExpConstants<T>;
  const IntVec<T> bits = (IntVec<T>)x;
  // The exponent with its bias, counted from sqrt(1/2). Shifted unsigned: AVX2 has no signed shift of 64 bits.
  const auto biased = (typename C::Unsigned)(bits - (C::kSqrtHalf - C::kOne)) >> E::kMantissaBits;
  const IntVec<T> exponent = (IntVec<T>)biased;
  const Vec<T> f = (Vec<T>)(bits - (exponent << E::kMantissaBits) + C::kOne) - T(1);
  const Vec<T> n = ((Vec<T>)(exponent + C::kRoundBits) - (E::kRound + static_cast<T>(E::kBias))) - shift;
  return log_of_reduced<T>(f, n, tail);
}

template <class T>
inline Vec<T> vector_log(Vec<T> x) {
  using C = LogConstants<T>;
  const T kInfinity = __builtin_inf();
  const auto denormal = x < C::kLeastNormal;
  const Vec<T> scaled = denormal ? x * C::kDenormalScale : x;
  const Vec<T> shift = denormal ? broadcast(C::kDenormalShift) : Vec<T>{};
  Vec<T> result = log_plus<T>(scaled, Vec<T>{}, shift);
  result = x < kInfinity ? result : x;  // inf and NaN
  result = x < T(0) ? broadcast(static_cast<T>(__builtin_nan(""))) : result;
  return x == T(0) ? broadcast(-kInfinity) : result;
}

// Computes log(u) + c/u, where u is 1 + x rounded and c its rounding error (Knuth's two-sum), so that no digit of x is lost.
template <class T>
inline Vec<T> vector_log1p(Vec<T> x) {
  const T kInfinity = __builtin_inf();
  const Vec<T> u = x + T(1);
  const Vec<T> x_part = u - T(1);
  const Vec<T> c = (T(1) - (u - x_part)) + (x - x_part);
  Vec<T> result = log_plus<T>(u, c / u, Vec<T>{});
  result = x < kInfinity ? result : x;
  result = x < T(-1) ? broadcast(static_cast<T>(__builtin_nan(""))) : result;
  return x == T(-1) ? broadcast(-kInfinity) : result;
}

// Computes log(1 + x) for 0 <= x <= 1, with one division less. Beyond sqrt(2) - 1 it is log(2) + log(1 + (x - 1)/2). There
// x - 1 is exact from 1/2 on, and below 1/2 it loses less than a quarter of an ulp of the result.
template <class T>
inline Vec<T> vector_log1p_of_fraction(Vec<T> x) {
  const auto upper = x > static_cast<T>(0.41421356237309504880);
  return log_of_reduced<T>(upper ? T(0.5) * (x - T(1)) : x, upper ? broadcast(T(1)) : Vec<T>{}, Vec<T>{});
}
