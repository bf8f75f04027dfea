// Matrix products per provider and form, on the slices that threads get of the workloads of stoop bench, and on cubes.
// Those of bfloat16 beside the peak of their own dot products.
// Name: gemm/<type>/<provider>/<form>/<workload>[/<threads>]:<m>x<n>x<k>. Checked against plain loops before timing.
//
// And what plan/product_choice.hpp is measured by: products of many shapes, each with all that a step pays for it.
// Name: choice/<class>/<provider>/<form>/<threads>:<m>x<n>x<k>, by the place of the shape in a ProductTable.
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "bench_support.hpp"
#include "cpu/gemm_blas.hpp"
#include "plan/plan.hpp"

namespace stoop::bench {
namespace {

enum class Provider { native, blas, amx_bf16, avx512_bf16 };  // the last two round operands to bfloat16

struct Product {
  GemmForm form;
  Index m, n, k;
  Index lda = 0, ldb = 0, ldc = 0;  // 0: contiguous
};

const char* name_of(Provider provider) {
  constexpr const char* kNames[] = {"native", "blas", "amx_bf16", "avx512_bf16"};
  return kNames[static_cast<int>(provider)];
}

bool rounds(Provider provider) { return provider == Provider::amx_bf16 || provider == Provider::avx512_bf16; }

const Bfloat16Table& bfloat16_of(Provider provider) {
  return bfloat16_table(provider == Provider::amx_bf16 ? Bfloat16Isa::amx_bf16 : Bfloat16Isa::avx512_bf16);
}

template <class T>
bool is_there(Provider provider) {
  if (provider == Provider::native) return true;
  if (provider == Provider::blas) return blas_available();
  const std::vector<Bfloat16Isa> ways = supported_bfloat16();
  return sizeof(T) == sizeof(float) && std::any_of(ways.begin(), ways.end(), [&](Bfloat16Isa way) {
           return name_of(provider) == std::string(name_of(way));
         });
}

template <class T>
Index scratch_elements(Provider provider, Index m, Index n, Index k) {
  return rounds(provider) ? bfloat16_of(provider).gemm_scratch_elements(m, n, k)
                          : active_table<T>().gemm_scratch_elements(m, n, k);
}

template <class T>
double peak_of(Provider provider) {
  return rounds(provider) ? dot_peak(bfloat16_of(provider)) : fma_peak<T>();
}

const char* name_of(GemmForm form) {
  switch (form) {
    case GemmForm::nn:
      return "nn";
    case GemmForm::nt:
      return "nt";
    case GemmForm::tn:
      return "tn";
  }
  return "?";
}

template <class T>
void multiply(Provider provider, const GemmArgs<T>& args) {
  if (provider == Provider::blas) {
    blas_gemm(args);
  } else if (rounds(provider)) {
    if constexpr (std::is_same_v<T, float>) bfloat16_of(provider).gemm(args);
  } else {
    active_table<T>().gemm(args);
  }
}

// Element (i, j) of op(a) @ op(b) in double.
template <class T>
double reference(const GemmArgs<T>& args, Index i, Index j) {
  double sum = 0.0;
  for (Index p = 0; p < args.k; ++p) {
    const T a = args.form == GemmForm::tn ? args.a[p * args.lda + i] : args.a[i * args.lda + p];
    const T b = args.form == GemmForm::nt ? args.b[j * args.ldb + p] : args.b[p * args.ldb + j];
    sum += static_cast<double>(a) * static_cast<double>(b);
  }
  return sum;
}

// Spot check of elements spread over c, edges included; operands are in [-1, 1).
template <class T>
bool is_right(const GemmArgs<T>& args, bool rounded) {
  constexpr Index kPoints = 5;
  const double of_a_term = rounded ? 0x1p-8 : sizeof(T) == 4 ? 1e-6 : 1e-14;
  const double tolerance = of_a_term * static_cast<double>(args.k);
  for (Index p = 0; p < kPoints; ++p) {
    for (Index q = 0; q < kPoints; ++q) {
      const Index i = (args.m - 1) * p / (kPoints - 1), j = (args.n - 1) * q / (kPoints - 1);
      const double difference = static_cast<double>(args.c[i * args.ldc + j]) - reference(args, i, j);
      if (!(std::fabs(difference) <= tolerance)) return false;  // true for NaN too
    }
  }
  return true;
}

// The operands of a product without epilogue, and room for it.
template <class T>
struct Operands {
  Operands(Provider provider, const Product& p)
      : lda(p.lda > 0 ? p.lda : (p.form == GemmForm::tn ? p.m : p.k)),
        ldb(p.ldb > 0 ? p.ldb : (p.form == GemmForm::nt ? p.k : p.n)),
        ldc(p.ldc > 0 ? p.ldc : p.n),
        a((p.form == GemmForm::tn ? p.k : p.m) * lda),
        b((p.form == GemmForm::nt ? p.n : p.k) * ldb),
        c(p.m * ldc),
        scratch(scratch_elements<T>(provider, p.m, p.n, p.k)) {
    args.form = p.form;
    args.m = p.m, args.n = p.n, args.k = p.k;
    args.a = a.data(), args.lda = lda;
    args.b = b.data(), args.ldb = ldb;
    args.c = c.data(), args.ldc = ldc;
    args.scratch = scratch.data();
  }

  Index lda, ldb, ldc;
  Array<T> a, b, c, scratch;
  GemmArgs<T> args{};
};

// Times `work`, which computes the product of `args` once, and counts. False, with an error, where the product is wrong.
template <class T, class Work>
void time_product(benchmark::State& state, Provider provider, const GemmArgs<T>& args, const Work& work) {
  multiply(provider, args);
  if (!is_right(args, rounds(provider))) {
    state.SkipWithError("wrong product");
    return;
  }
  const double seconds = time_kernel(state, work);
  const double gflops =
      2e-9 * static_cast<double>(args.m) * static_cast<double>(args.n) * static_cast<double>(args.k) / seconds;
  state.counters["GFLOP/s"] = gflops;
  state.counters["share_of_peak"] = gflops / peak_of<T>(provider);
}

template <class T>
void run_gemm(benchmark::State& state, Provider provider, Product product) {
  const Operands<T> operands(provider, product);
  time_product(state, provider, operands.args, [&] { multiply(provider, operands.args); });
}

template <class T>
void add(const std::string& what, Product product) {
  for (const Provider provider : {Provider::native, Provider::blas, Provider::amx_bf16, Provider::avx512_bf16}) {
    if (!is_there<T>(provider)) continue;
    const std::string name = std::string("gemm/") + dtype_name<T>() + "/" + name_of(provider) + "/" +
                             name_of(product.form) + "/" + what + ":" + std::to_string(product.m) + "x" +
                             std::to_string(product.n) + "x" + std::to_string(product.k);
    benchmark::RegisterBenchmark(name.c_str(), run_gemm<T>, provider, product)->Unit(benchmark::kMicrosecond);
  }
}

struct Network {
  const char* name;
  Index batch_size;
  std::vector<Index> widths;  // equal layers once
};

const std::vector<Network> kNetworks = {
    {"rl_tiny", 64, {8, 64, 64, 4}},           {"letter", 128, {16, 128, 128, 26}},
    {"mnist_plain", 128, {784, 512, 256, 10}}, {"wide", 512, {1024, 2048, 2048, 10}},
    {"deep", 256, {64, 128, 128, 10}},
};

// How far apart the rows of a buffer lie, as padded_stride in plan/builder.hpp has it, and the rows of a weight whose
// gradient is one product, as weight_block in plan/build_parameters.cpp.
Index buffer_stride(Index width) {
  const Index stride = (width + 15) / 16 * 16;
  return stride % 1024 == 0 ? stride + 16 : stride;
}

Index weight_rows(Index in, Index out) {
  const Index tile = in >= 32 ? 8 : 4;
  const Index even = ((in + 15) / 16 + tile - 1) / tile * tile;
  return std::min({even, std::max(tile, (Index{1} << 17) / out / tile * tile), in});
}

// Whether the plan cuts products with this weight by columns, as product_cut in plan/builder.hpp has it.
bool is_cut_by_columns(Index batch, Index in, Index out) {
  return in * out >= Index{1} << 16 && in * out > batch * (in + out);
}

// The products of one layer of a step by a team of `threads`.
void add_layer(const Network& network, std::size_t layer, Index threads) {
  const Index in = network.widths[layer], out = network.widths[layer + 1], batch = network.batch_size;
  const bool by_columns = is_cut_by_columns(batch, in, out);
  const std::string name = std::string(network.name) + "/" + std::to_string(threads);
  const Index in_stride = buffer_stride(in), out_stride = buffer_stride(out);
  add<float>(name, {GemmForm::nn, by_columns ? batch : batch / threads, by_columns ? out / threads : out, in, in_stride,
                    out, out_stride});
  if (layer > 0) {
    add<float>(name, {GemmForm::nt, by_columns ? batch : batch / threads, by_columns ? in / threads : in, out,
                      out_stride, out, in_stride});
  }
  if (threads > 1) return;  // a block of a weight is the same for any team
  add<float>(network.name, {GemmForm::tn, weight_rows(in, out), out, batch, in_stride, out_stride, out});
}

// ---- the choice of a provider ----

// Rows of a weight whose gradient is one product: blocks of weight_rows, as add_parameter_step in
// plan/build_parameters.cpp groups them.
Index product_rows(Index in, Index out) {
  const Index block = weight_rows(in, out);
  return std::min(in, std::max(block, (Index{1} << 15) / (block * out) * block));
}

// Times a product as a step needs it: with its epilogue (bias and relu forward, the derivative of relu backward), and the
// gradient of a weight `rows` rows at a time.
void run_choice(benchmark::State& state, Provider provider, Product product, Index rows) {
  Operands<float> operands(provider, product);
  const Array<float> bias(product.n), gate(product.m * operands.ldc);
  GemmArgs<float> args = operands.args;
  args.activation = kind_of<ReLU>();
  if (product.form == GemmForm::nn) {
    args.epilogue = Epilogue::activate;
    args.bias = bias.data();
  } else if (product.form == GemmForm::nt) {
    args.epilogue = Epilogue::gate;
    args.gate = gate.data();
    args.ld_gate = args.ldc;
  }
  time_product(state, provider, operands.args, [&] {
    for (Index i = 0; i < product.m; i += rows) {
      GemmArgs<float> part = args;
      part.m = std::min(rows, product.m - i);
      if (product.form == GemmForm::tn) part.a += i;  // c is one buffer for all of them
      multiply(provider, part);
      if (provider == Provider::blas) active_table<float>().gemm_epilogue(part);
    }
  });
}

void add_choice(std::size_t place, int threads, Product product, Index rows) {
  for (const Provider provider : {Provider::native, Provider::blas}) {
    if (!is_there<float>(provider)) continue;
    const std::string name = "choice/" + std::to_string(place) + "/" + name_of(provider) + "/" + name_of(product.form) +
                             "/" + std::to_string(threads) + ":" + std::to_string(product.m) + "x" +
                             std::to_string(product.n) + "x" + std::to_string(product.k);
    benchmark::RegisterBenchmark(name.c_str(), run_choice, provider, product, rows)->Unit(benchmark::kMicrosecond);
  }
}

// The columns of a product's result in a batch of `rows`, and the other width of the layer.
struct LayerShape {
  Index rows, columns, other;
};

// For each class of columns and work five that networks have, odd sizes among them.
constexpr LayerShape kLayers[] = {
    {64, 4, 64},      {128, 1, 128},    {64, 8, 256},     {100, 3, 37},      {256, 2, 200},      // up to 8, small
    {512, 4, 784},    {1024, 1, 1024},  {512, 8, 2048},   {256, 5, 1000},    {2048, 3, 512},     // up to 8, medium
    {4096, 8, 1024},  {8192, 4, 784},   {8192, 2, 2048},  {8192, 1, 2048},   {2048, 6, 2048},    // up to 8, large
    {128, 10, 128},   {64, 10, 256},    {100, 13, 37},    {256, 16, 64},     {128, 10, 512},     // up to 16, small
    {512, 13, 1000},  {256, 16, 784},   {256, 10, 500},   {512, 10, 2048},   {128, 12, 1024},    // up to 16, medium
    {2048, 10, 1024}, {2048, 13, 2048}, {1024, 16, 2048}, {4096, 10, 784},   {4096, 9, 512},     // up to 16, large
    {64, 32, 64},     {128, 26, 100},   {64, 64, 64},     {100, 17, 100},    {32, 48, 128},      // up to 64, small
    {256, 17, 300},   {128, 64, 256},   {256, 26, 512},   {256, 32, 784},    {128, 50, 784},     // up to 64, medium
    {1024, 17, 1024}, {2048, 26, 784},  {1024, 64, 512},  {512, 40, 1024},   {4096, 32, 256},    // up to 64, large
    {32, 128, 64},    {64, 128, 16},    {64, 100, 100},   {32, 80, 100},     {32, 256, 32},      // more, small
    {128, 128, 128},  {64, 512, 256},   {128, 300, 100},  {256, 128, 64},    {100, 200, 150},    // more, medium
    {128, 512, 784},  {128, 256, 512},  {256, 300, 500},  {256, 1000, 1024}, {512, 2048, 2048},  // more, large
};

void add_choices(const LayerShape& layer, Index threads) {
  const auto [batch, columns, other] = layer;
  const Index stride = buffer_stride(columns), other_stride = buffer_stride(other);
  const auto place = [&](GemmForm form) {
    return product_class(form, columns, 2.0 * static_cast<double>(batch * columns * other));
  };
  const bool by_columns = is_cut_by_columns(batch, columns, other);
  const Index m = by_columns ? batch : batch / threads;
  const Index n = by_columns ? std::min(columns, round_up(columns / threads, kColumnBlock)) : columns;
  const int team = static_cast<int>(threads);
  add_choice(place(GemmForm::nn), team, {GemmForm::nn, m, n, other, other_stride, columns, stride}, m);
  add_choice(place(GemmForm::nt), team, {GemmForm::nt, m, n, other, other_stride, other, stride}, m);
  if (threads > 1) return;  // the blocks of a weight are the same for any team
  add_choice(place(GemmForm::tn), team, {GemmForm::tn, other, columns, batch, other_stride, stride, columns},
             product_rows(other, columns));
}

}  // namespace

void register_gemm() {
  for (const Network& network : kNetworks) {
    for (std::size_t layer = 0; layer + 1 < network.widths.size(); ++layer) {
      for (const Index threads : {1, 2}) add_layer(network, layer, threads);
    }
  }
  for (const Index size : {64, 128, 2048}) {
    for (const GemmForm form : {GemmForm::nn, GemmForm::nt, GemmForm::tn}) {
      add<float>("cube", {form, size, size, size});
      add<double>("cube", {form, size, size, size});
    }
  }
}

void register_choice() {
  for (const LayerShape& layer : kLayers) {
    for (const Index threads : {1, 2}) add_choices(layer, threads);
  }
}

}  // namespace stoop::bench
