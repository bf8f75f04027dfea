// The text of errors: format, suggestions, and what an exception carries besides its text.
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include <stoop/error.hpp>

namespace stoop {
namespace {

constexpr std::array<std::string_view, 5> kNames = {"identity", "relu", "leaky_relu", "tanh", "sigmoid"};

std::string unknown_name_message(std::string_view name) {
  try {
    throw_unknown_name("Dense", "activation", name, kNames);
  } catch (const ValueError& error) {
    return error.what();
  }
}

TEST(Error, MessageHasWhereGivenExpectedHint) {
  EXPECT_EQ(format_error("Dense", "units is 0", "expected at least 1", "give a positive number"),
            "[Dense] units is 0; expected at least 1; give a positive number.");
}

TEST(Error, MessageLeavesOutEmptyPartsAndKeepsItsLastMark) {
  EXPECT_EQ(format_error("fit", "x is empty", "", ""), "[fit] x is empty.");
  EXPECT_EQ(format_error("fit", "a", "b", "really?"), "[fit] a; b; really?");
  EXPECT_EQ(format_error("fit", "a", "b", "done."), "[fit] a; b; done.");
}

TEST(Error, ThrowsTheTypeItNames) {
  EXPECT_THROW(throw_value_error("a", "b", "c", "d"), ValueError);
  EXPECT_THROW(throw_type_error("a", "b", "c", "d"), TypeError);
  EXPECT_THROW(throw_checkpoint_error("a", "b", "c", "d"), CheckpointError);
  EXPECT_THROW(throw_value_error("a", "b", "c", "d"), std::invalid_argument);
}

TEST(Error, UnknownNameListsAllAndSuggestsTheNearest) {
  EXPECT_EQ(unknown_name_message("rellu"),
            "[Dense] unknown activation \"rellu\"; expected one of identity, relu, leaky_relu, tanh, sigmoid; "
            "did you mean \"relu\"?");
  EXPECT_NE(unknown_name_message("tahn").find("did you mean \"tanh\"?"), std::string::npos);
  EXPECT_NE(unknown_name_message("leaky-relu").find("did you mean \"leaky_relu\"?"), std::string::npos);
}

TEST(Error, SuggestionIgnoresCase) {
  EXPECT_NE(unknown_name_message("ReLU").find("did you mean \"relu\"?"), std::string::npos);
  EXPECT_NE(unknown_name_message("LeakyReLU").find("did you mean \"leaky_relu\"?"), std::string::npos);
}

TEST(Error, NothingIsSuggestedForANameThatIsFarFromAll) {
  for (const std::string_view name : {"", "xyzzy", "qqqqqqqqqqqqqqqqqqqqq"}) {
    EXPECT_EQ(unknown_name_message(name).find("did you mean"), std::string::npos) << name;
  }
}

TEST(Error, LongAndHostileNamesAreCutAndCleaned) {
  EXPECT_LT(unknown_name_message(std::string(1'000'000, 'a')).size(), 300u);
  EXPECT_EQ(in_quotes("a\n\x1b[31mb"), "\"a??[31mb\"");
  // The 80th byte lies inside a two-byte letter, which is then left out as a whole.
  EXPECT_EQ(in_quotes(std::string(79, 'a') + "\u00e9\u00e9"), "\"" + std::string(79, 'a') + "...\"");
}

TEST(Error, FileErrorCarriesErrnoAndPath) {
  const FileError error(ENOENT, "dir/m.safetensors", "cannot read");
  EXPECT_EQ(error.code().value(), ENOENT);
  EXPECT_EQ(error.path, "dir/m.safetensors");
  const std::string text = error.what();
  EXPECT_EQ(text, std::string("cannot read 'dir/m.safetensors': ") + std::strerror(ENOENT));
}

TEST(Error, NonFiniteLossErrorCarriesStepEpochAndCause) {
  const NonFiniteLossError error(120, 3, "the learning rate is too large");
  EXPECT_EQ(error.step, 120);
  EXPECT_EQ(error.epoch, 3);
  EXPECT_EQ(error.cause, "the learning rate is too large");
  const std::string text = error.what();
  for (const char* part : {"[Trainer.fit] ", "step 120", "epoch 3", "the learning rate is too large."}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " in " << text;
  }
  EXPECT_EQ(std::string(NonFiniteLossError(0, 0, "x", "step").what()).find("[step] "), 0u);
}

TEST(Error, NumbersAreShownInTheirShortestForm) {
  EXPECT_EQ(number_text(0.001), "0.001");
  EXPECT_EQ(number_text(1e300), "1e+300");
  EXPECT_EQ(number_text(-3.0), "-3");
}

}  // namespace
}  // namespace stoop
