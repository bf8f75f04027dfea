// Kernels of values with members of STOOP_ISA, and what members say together, against the plain formulas in a wider type.
#include <gtest/gtest.h>

#include <span>

#include "test_helpers.hpp"

namespace stoop {
namespace {

template <class T>
class MemberKernels : public ::testing::Test {
 protected:
  static constexpr T kCanary = T(77);
  static constexpr Index kColumns[9] = {1, 2, 3, 7, 8, 9, 16, 17, 35};
  static constexpr Index kMembers[4] = {1, 2, 5, 9};
  static constexpr OutputKind kOutputs[3] = {OutputKind::identity, OutputKind::softmax, OutputKind::sigmoid};

  static const T& at(const std::vector<T>& values, Index i) { return values[static_cast<std::size_t>(i)]; }

  // log(sum over n of exp(of(i))).
  template <class Of>
  static Wide<T> log_sum(Index n, const Of& of) {
    Wide<T> largest = of(0), sum = 0;
    for (Index i = 1; i < n; ++i) largest = std::max(largest, of(i));
    for (Index i = 0; i < n; ++i) sum += std::exp(of(i) - largest);
    return largest + std::log(sum);
  }
  static Wide<T> log_sigmoid(Wide<T> z) { return std::min<Wide<T>>(z, 0) - std::log1p(std::exp(-std::abs(z))); }
};
using ElementTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(MemberKernels, ElementTypes);

// The logits of one sample, and what is made of them.
template <class T>
struct Together {
  Index members, cols, ld;
  std::vector<T> logits, output, grad, grad_logits;

  Together(Index k, Index c, double scale)
      : members(k),
        cols(c),
        ld(c + 3),
        logits(numbers<T>(k * ld, 5, scale)),
        output(static_cast<std::size_t>(ld), T(77)),
        grad(numbers<T>(ld, 6)),
        grad_logits(logits.size(), T(77)) {}

  void run(const OpTable<T>& table, OutputKind kind) {
    CombineArgs<T> args{};
    args.rows = 1, args.cols = cols, args.members = members;
    args.input = logits.data(), args.ld_input = ld;
    args.output = output.data(), args.ld_output = ld;
    table.combine[static_cast<int>(kind)](args);
    args.grad = grad.data(), args.ld_grad = ld;
    args.output = grad_logits.data();
    table.combine_gradient[static_cast<int>(kind)](args);
  }
  Wide<T> z(Index m, Index j) const { return logits[static_cast<std::size_t>(m * ld + j)]; }
  Wide<T> g(Index j) const { return grad[static_cast<std::size_t>(j)]; }
};

TYPED_TEST(MemberKernels, ScalesEachMember) {
  using T = TypeParam;
  constexpr Index kRows = 3;
  for (const Index cols : this->kColumns) {
    for (const Index members : this->kMembers) {
      for (const bool from_one : {false, true}) {
        const Index ld = cols + 2;
        const auto x = numbers<T>(kRows * members * ld, 1), scale = numbers<T>(members * cols, 2);
        const auto bias = numbers<T>(members * cols, 3);
        for (const bool has_bias : {false, true}) {
          std::vector<T> out(static_cast<std::size_t>(kRows * members * ld), this->kCanary);
          table_under_test<T>().member_scale({kRows, cols, members, from_one ? 1 : members, x.data(), ld, scale.data(),
                                              has_bias ? bias.data() : nullptr, cols, out.data(), ld});
          for (Index row = 0; row < kRows * members; ++row) {
            const Index m = row % members, from = from_one ? row / members : row;
            for (Index j = 0; j < ld; ++j) {
              if (j >= cols) {
                ASSERT_EQ(this->at(out, row * ld + j), this->kCanary);
                continue;
              }
              const Wide<T> product = Wide<T>(this->at(x, from * ld + j)) * this->at(scale, m * cols + j);
              const Wide<T> expected = product + (has_bias ? this->at(bias, m * cols + j) : T(0));
              ASSERT_NEAR(this->at(out, row * ld + j), static_cast<T>(expected), 2 * kEpsilon<T>);
            }
          }
        }
      }
    }
  }
}

// Weights of one to four columns, rows of members that share x or not, columns around vectors and their groups.
template <class T>
struct NarrowData {
  static constexpr Index kRows = 6;
  Index cols, units, members, input_members, ld;
  std::vector<T> x, weight, bias, grad;

  NarrowData(Index c, Index n, Index k, bool from_one)
      : cols(c),
        units(n),
        members(k),
        input_members(from_one ? 1 : k),
        ld(c + 2),
        x(numbers<T>(kRows * input_members * ld, 1)),
        weight(numbers<T>(k * n * ld, 2)),
        bias(numbers<T>(k * (n + 1), 3)),
        grad(numbers<T>(kRows * k * (n + 1), 4)) {}

  Wide<T> x_at(Index row, Index j) const {
    const Index from = input_members == 1 ? row / members : row;
    return x[static_cast<std::size_t>(from * ld + j)];
  }
  Wide<T> weight_at(Index m, Index u, Index j) const {
    return weight[static_cast<std::size_t>((m * units + u) * ld + j)];
  }
  Wide<T> grad_at(Index row, Index u) const { return grad[static_cast<std::size_t>(row * (units + 1) + u)]; }

  NarrowArgs<T> args(std::vector<T>& output, Index ld_output) const {
    NarrowArgs<T> of{};
    of.rows = kRows, of.cols = cols, of.units = units, of.members = members, of.input_members = input_members;
    of.x = x.data(), of.ldx = ld;
    of.weight = weight.data(), of.ld_weight = ld;
    of.bias = bias.data(), of.ld_bias = units + 1;
    of.grad = grad.data(), of.ld_grad = units + 1;
    of.output = output.data(), of.ld_output = ld_output;
    return of;
  }
};

template <class T, class Check>
void for_each_narrow(std::span<const Index> columns, const Check& check) {
  for (const Index cols : columns) {
    for (Index units = 1; units <= kNarrowUnits; ++units) {
      for (const Index members : {1, 3}) {
        for (const bool from_one : {false, true}) check(NarrowData<T>(cols, units, members, from_one));
      }
    }
  }
}

TYPED_TEST(MemberKernels, NarrowProducts) {
  using T = TypeParam;
  for_each_narrow<T>(this->kColumns, [&](const NarrowData<T>& data) {
    const Index ld = data.units + 1, rows = data.kRows * data.members;
    std::vector<T> out(static_cast<std::size_t>(rows * ld), this->kCanary), plain = out;
    NarrowArgs<T> args = data.args(out, ld);
    table_under_test<T>().narrow_product(args);
    args.bias = nullptr, args.output = plain.data();
    table_under_test<T>().narrow_product(args);
    for (Index row = 0; row < rows; ++row) {
      const Index m = row % data.members;
      for (Index u = 0; u < data.units; ++u) {
        Wide<T> sum = 0;
        for (Index j = 0; j < data.cols; ++j) sum += data.x_at(row, j) * data.weight_at(m, u, j);
        const double bound = kEpsilon<T> * static_cast<double>(data.cols + 1);
        ASSERT_NEAR(this->at(plain, row * ld + u), sum, bound);
        ASSERT_NEAR(this->at(out, row * ld + u), sum + this->at(data.bias, m * ld + u), bound);
      }
      ASSERT_EQ(this->at(out, row * ld + data.units), this->kCanary);
    }
  });
}

TYPED_TEST(MemberKernels, NarrowGradients) {
  using T = TypeParam;
  for_each_narrow<T>(this->kColumns, [&](const NarrowData<T>& data) {
    const Index rows = data.kRows * data.members, ld = data.cols + 1;
    std::vector<T> of_input(static_cast<std::size_t>(rows * ld), this->kCanary);
    table_under_test<T>().narrow_input_gradient(data.args(of_input, ld));
    for (Index row = 0; row < rows; ++row) {
      for (Index j = 0; j < data.cols; ++j) {
        Wide<T> sum = 0;
        for (Index u = 0; u < data.units; ++u) sum += data.grad_at(row, u) * data.weight_at(row % data.members, u, j);
        ASSERT_NEAR(this->at(of_input, row * ld + j), sum, 4 * kEpsilon<T>);
      }
      ASSERT_EQ(this->at(of_input, row * ld + data.cols), this->kCanary);
    }
    const Index member = data.members - 1, from = data.input_members - 1;
    std::vector<T> of_weight(static_cast<std::size_t>(data.cols * data.units + 1), this->kCanary);
    NarrowArgs<T> args = data.args(of_weight, data.units);
    args.x += from * data.ld, args.ldx *= data.input_members;
    args.grad += member * (data.units + 1), args.ld_grad *= data.members;
    table_under_test<T>().narrow_weight_gradient(args);
    for (Index j = 0; j < data.cols; ++j) {
      for (Index u = 0; u < data.units; ++u) {
        Wide<T> sum = 0;
        for (Index i = 0; i < data.kRows; ++i) {
          const Index row = i * data.members + member;
          sum += data.x_at(row, j) * data.grad_at(row, u);
        }
        ASSERT_NEAR(this->at(of_weight, j * data.units + u), sum, data.kRows * kEpsilon<T>);
      }
    }
    EXPECT_EQ(of_weight.back(), this->kCanary);
  });
}

TYPED_TEST(MemberKernels, AddsMembersAndRows) {
  using T = TypeParam;
  constexpr Index kRows = 5;
  for (const Index cols : this->kColumns) {
    for (const Index members : this->kMembers) {
      const Index ld = cols + 2;
      const auto x = numbers<T>(kRows * members * ld, 1), scale = numbers<T>(members * cols, 2);
      std::vector<T> sums(static_cast<std::size_t>(kRows * ld), this->kCanary), plain = sums, products = sums;
      table_under_test<T>().member_sum({kRows, cols, members, x.data(), ld, scale.data(), cols, sums.data(), ld});
      table_under_test<T>().member_sum({kRows, cols, members, x.data(), ld, nullptr, 0, plain.data(), ld});
      table_under_test<T>().product_sum({kRows, cols, x.data(), members * ld, x.data(), ld, products.data()});
      const double bound = kEpsilon<T> * static_cast<double>(members + kRows);
      for (Index j = 0; j < cols; ++j) {
        Wide<T> of_rows = 0;
        for (Index i = 0; i < kRows; ++i) {
          Wide<T> scaled = 0, sum = 0;
          for (Index m = 0; m < members; ++m) {
            const Wide<T> value = this->at(x, (i * members + m) * ld + j);
            scaled += value * this->at(scale, m * cols + j);
            sum += value;
          }
          ASSERT_NEAR(this->at(sums, i * ld + j), static_cast<T>(scaled), bound);
          ASSERT_NEAR(this->at(plain, i * ld + j), static_cast<T>(sum), bound);
          of_rows += Wide<T>(this->at(x, i * members * ld + j)) * this->at(x, i * ld + j);
        }
        ASSERT_NEAR(this->at(products, j), static_cast<T>(of_rows), bound);
      }
      ASSERT_EQ(this->at(sums, cols), this->kCanary);
      ASSERT_EQ(this->at(products, cols), this->kCanary);
    }
  }
}

TYPED_TEST(MemberKernels, CombineLogits) {
  using T = TypeParam;
  for (const double scale : {1.0, 30.0, 1e4}) {
    for (const Index cols : this->kColumns) {
      for (const Index members : this->kMembers) {
        for (const OutputKind kind : this->kOutputs) {
          Together<T> p(members, cols, scale);
          p.run(table_under_test<T>(), kind);
          const double bound = kEpsilon<T> * 4 * (scale + 8);
          for (Index j = 0; j < cols; ++j) {
            const auto log_p = [&](Index m) {
              return p.z(m, j) - this->log_sum(cols, [&](Index c) { return p.z(m, c); });
            };
            Wide<T> expected = 0;
            if (kind == OutputKind::softmax) {
              expected = this->log_sum(members, log_p) - std::log(static_cast<Wide<T>>(members));
            } else if (kind == OutputKind::sigmoid) {
              expected = this->log_sum(members, [&](Index m) { return this->log_sigmoid(p.z(m, j)); }) -
                         this->log_sum(members, [&](Index m) { return this->log_sigmoid(-p.z(m, j)); });
            } else {
              for (Index m = 0; m < members; ++m) expected += p.z(m, j) / static_cast<Wide<T>>(members);
            }
            ASSERT_NEAR(this->at(p.output, j), static_cast<T>(expected), bound) << static_cast<int>(kind);
          }
          ASSERT_EQ(this->at(p.output, cols), this->kCanary);
        }
      }
    }
  }
}

TYPED_TEST(MemberKernels, CombineGradients) {
  using T = TypeParam;
  for (const double scale : {1.0, 30.0}) {
    for (const Index cols : this->kColumns) {
      for (const Index members : this->kMembers) {
        for (const OutputKind kind : this->kOutputs) {
          Together<T> p(members, cols, scale);
          p.run(table_under_test<T>(), kind);
          const auto log_p = [&](Index m, Index j) {
            return p.z(m, j) - this->log_sum(cols, [&](Index c) { return p.z(m, c); });
          };
          const auto share = [&](Index m, Index j) {
            return std::exp(log_p(m, j) - this->log_sum(members, [&](Index other) { return log_p(other, j); }));
          };
          for (Index m = 0; m < members; ++m) {
            Wide<T> total = 0;
            for (Index c = 0; c < cols && kind == OutputKind::softmax; ++c) total += share(m, c) * p.g(c);
            for (Index j = 0; j < cols; ++j) {
              Wide<T> expected = p.g(j) / static_cast<Wide<T>>(members);
              if (kind == OutputKind::softmax) {
                expected = share(m, j) * p.g(j) - std::exp(log_p(m, j)) * total;
              } else if (kind == OutputKind::sigmoid) {
                const Wide<T> yes = this->log_sigmoid(p.z(m, j)), no = this->log_sigmoid(-p.z(m, j));
                const Wide<T> all = this->log_sum(members, [&](Index o) { return this->log_sigmoid(p.z(o, j)); });
                const Wide<T> none = this->log_sum(members, [&](Index o) { return this->log_sigmoid(-p.z(o, j)); });
                expected = p.g(j) * (std::exp(yes + no - all) + std::exp(yes + no - none));
              }
              ASSERT_NEAR(this->at(p.grad_logits, m * p.ld + j), static_cast<T>(expected),
                          kEpsilon<T> * 64 * (scale + 1));
            }
            ASSERT_EQ(this->at(p.grad_logits, m * p.ld + cols), this->kCanary);
          }
        }
      }
    }
  }
}

// Members that are all certain stay certain, and NaN shows.
TYPED_TEST(MemberKernels, CombineExtremes) {
  using T = TypeParam;
  const T large = std::numeric_limits<T>::max() / 2;
  for (const OutputKind kind : {OutputKind::softmax, OutputKind::sigmoid}) {
    Together<T> p(2, 3, 0.0);
    for (const Index m : {Index{0}, Index{1}}) {
      p.logits[static_cast<std::size_t>(m * p.ld)] = large;
      p.logits[static_cast<std::size_t>(m * p.ld + 1)] = -large;
    }
    p.run(table_under_test<T>(), kind);
    ASSERT_EQ(p.output[0], kind == OutputKind::softmax ? T(0) : large);
    ASSERT_LE(p.output[1], -large);
    for (const Index m : {Index{0}, Index{1}}) {
      for (Index j = 0; j < 3; ++j) ASSERT_TRUE(std::isfinite(p.grad_logits[static_cast<std::size_t>(m * p.ld + j)]));
    }
    p.logits[2] = kNaN<T>;
    p.run(table_under_test<T>(), kind);
    ASSERT_TRUE(std::isnan(p.output[2]));
  }
}

// A row has the same bits alone and among others, and so have its columns.
TYPED_TEST(MemberKernels, RowsDoNotDependOnEachOther) {
  using T = TypeParam;
  constexpr Index kRows = 9, kCols = 5, kK = 6, kLd = 8;
  const auto logits = numbers<T>(kRows * kK * kLd, 5, 4.0);
  for (const OutputKind kind : this->kOutputs) {
    std::vector<T> all(kRows * kCols), one(kCols);
    CombineArgs<T> args{};
    args.rows = kRows, args.cols = kCols, args.members = kK;
    args.input = logits.data(), args.ld_input = kLd;
    args.output = all.data(), args.ld_output = kCols;
    table_under_test<T>().combine[static_cast<int>(kind)](args);
    for (Index row = 0; row < kRows; ++row) {
      args.rows = 1;
      args.input = logits.data() + row * kK * kLd;
      args.output = one.data();
      table_under_test<T>().combine[static_cast<int>(kind)](args);
      ASSERT_TRUE(same_bits<T>(one, std::span(all).subspan(static_cast<std::size_t>(row * kCols), kCols)));
    }
  }
}

}  // namespace
}  // namespace stoop
