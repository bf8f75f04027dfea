// Hints for unknown names in C++; tests/python/test_suggestions.py has the long lists.
#include <array>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include <stoop/error.hpp>
#include <stoop/layers.hpp>
#include <stoop/losses.hpp>
#include <stoop/optimizers.hpp>
#include <stoop/schedules.hpp>

#include "base/suggestions.hpp"

namespace stoop {
namespace {

template <class Call>
std::string hint_of(const Call& call) {
  try {
    call();
  } catch (const ValueError& error) {
    const std::string text = error.what();
    return text.substr(text.rfind("; ") + 2);
  }
  return "no error";
}

TEST(Suggestions, NamesOfOtherLibraries) {
  EXPECT_EQ(hint_of([] { loss_from_name("bce"); }), "did you mean \"binary_cross_entropy\"?");
  EXPECT_EQ(hint_of([] { loss_from_name("cross_entropy"); }), "did you mean \"softmax_cross_entropy\"?");
  EXPECT_EQ(hint_of([] { loss_from_name("MSELoss"); }), "did you mean \"mse\"?");
  EXPECT_EQ(hint_of([] { optimizer_from_name("RMSprop"); }), "did you mean \"rmsprop\"?");
  EXPECT_EQ(hint_of([] { initializer_from_name("kaiming_normal_"); }), "did you mean \"he_normal\"?");
  EXPECT_EQ(hint_of([] { layer_from_name("fully_connected"); }), "did you mean \"dense\"?");
  EXPECT_EQ(hint_of([] { schedules::schedule_from_name("CosineAnnealingLR"); }), "did you mean \"cosine\"?");
  EXPECT_EQ(hint_of([] { schedules::schedule_from_name("SGDR"); }), "did you mean \"cosine_restarts\"?");
  EXPECT_EQ(hint_of([] { loss_from_name("pinball"); }), "did you mean \"quantile\"?");
}

TEST(Suggestions, AWordOfAdviceWhereNoNameMeansTheSame) {
  EXPECT_TRUE(hint_of([] { activation_from_name("softmax"); }).starts_with("leave it out"));
  EXPECT_TRUE(hint_of([] { layer_from_name("Softmax"); }).starts_with("leave it out"));
  EXPECT_TRUE(hint_of([] { loss_from_name("rmse"); }).starts_with("use mse, whose minimum is the same"));
}

TEST(Suggestions, NothingThatMerelyLooksAlike) {
  for (const std::string_view name : {"celu", "prelu", "glu", "hard_sigmoid"}) {
    EXPECT_EQ(hint_of([&] { activation_from_name(name); }), "use one of these names.") << name;
  }
  for (const std::string_view name : {"mape", "msle", "squared_hinge"}) {
    EXPECT_EQ(hint_of([&] { loss_from_name(name); }), "use one of these names.") << name;
  }
  for (const std::string_view name : {"adan", "adabelief", "lars"}) {
    EXPECT_EQ(hint_of([&] { optimizer_from_name(name); }), "use one of these names.") << name;
  }
}

// An alias holds where its name is among the valid ones, and is silent elsewhere.
TEST(Suggestions, OnlyValidNames) {
  constexpr std::array<std::string_view, 2> kFew = {"mse", "mae"};
  EXPECT_EQ(suggest("loss", "bce", kFew), "use one of these names");
  EXPECT_EQ(suggest("loss", "l1", kFew), "did you mean \"mae\"?");
  EXPECT_EQ(suggest("loss", "", kFew), "use one of these names");
  EXPECT_EQ(suggest("loss", "___", kFew), "use one of these names");
}

}  // namespace
}  // namespace stoop
