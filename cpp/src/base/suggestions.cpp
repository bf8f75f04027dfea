// Suggests names for those that people bring from other libraries or mistype. A hint must not name something with another
// meaning, since whoever follows it would train another model without noticing. So known names are looked up before any
// guess.
#include "suggestions.hpp"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <vector>

#include <stoop/error.hpp>

namespace stoop::inline v0_1 {
namespace {

using namespace std::string_view_literals;

constexpr std::size_t kMaxBytes = 80;
constexpr std::string_view kNoHint = "use one of these names";

// Names with one meaning, in their compact form (see `compact`), separated by spaces. `meant` is the valid name for the same
// thing. Where there is none, `advice` says what to do; if that is empty too, there is nothing like it.
struct Foreign {
  std::string_view what;
  std::string_view names;
  std::string_view meant;
  std::string_view advice = {};
};

constexpr std::string_view kLeaveOut =
    "leave it out: the softmax is part of softmax_cross_entropy, and predict_proba gives it";
constexpr std::string_view kLogLoss =
    "use softmax_cross_entropy for classes, binary_cross_entropy for one output or several labels";
constexpr std::string_view kNegativeLikelihood =
    "use softmax_cross_entropy and leave the log-softmax out of the model: it is part of that loss";
constexpr std::string_view kGlorot = "use glorot_uniform or glorot_normal";
constexpr std::string_view kHe = "use he_uniform or he_normal";

constexpr Foreign kForeign[] = {
    {"activation", "swish swish1", "silu"},
    {"activation", "linear none null noop passthrough", "identity"},
    {"activation", "logistic expit sigm", "sigmoid"},
    {"activation", "lrelu leaky", "leaky_relu"},
    {"activation", "rectifier rectified rectifiedlinear rectlin", "relu"},
    {"activation", "hyperbolictangent", "tanh"},
    {"activation", "softrelu smoothrelu", "softplus"},
    {"activation", "hardsilu", "hard_swish"},
    {"activation", "gelutanh gelunew approximategelu", "", "use stoop.GELU(approximate=\"tanh\")"},
    {"activation", "softmax logsoftmax softmin", "", kLeaveOut},
    {"activation",
     "relun celu prelu rrelu crelu srelu frelu elish hardsigmoid hardtanh logsigmoid "
     "softsign softshrink hardshrink tanhshrink threshold glu swiglu geglu reglu quickgelu "
     "exp exponential sin sine sinc cos snake gauss gaussian step maxout sqrt square arctan atan "
     "sparsemax entmax",
     ""},

    {"loss",
     "bce bceloss binarycrossentropy binarycrossentropywithlogits bcewithlogits sigmoidcrossentropy "
     "sigmoidcrossentropywithlogits sigmoidbinarycrossentropy multilabelsoftmargin binarylogistic binarylogloss",
     "binary_cross_entropy"},
    {"loss",
     "crossentropy crossentropywithlogits ce cce scce xent softmax softmaxcrossentropywithlogits "
     "sparsesoftmaxcrossentropywithlogits categoricalcrossentropy sparsecategoricalcrossentropy sparsecrossentropy "
     "multiclasscrossentropy multisoftprob multisoftmax softmaxwithintegerlabels",
     "softmax_cross_entropy"},
    {"loss", "nll nllloss negativeloglikelihood", "", kNegativeLikelihood},
    {"loss", "logloss log logarithmic", "", kLogLoss},
    {"loss", "meansquarederror meansquareerror squarederror squared square l2 quadratic leastsquares", "mse"},
    {"loss", "meanabsoluteerror absoluteerror absolute l1 leastabsolutedeviation", "mae"},
    {"loss", "smoothl1", "huber"},
    {"loss", "pinball", "quantile"},
    {"loss", "poissonnll", "poisson"},
    {"loss", "sigmoidfocal binaryfocalcrossentropy", "focal"},
    {"loss", "rmse rootmeansquarederror", "",
     "use mse, whose minimum is the same, and take the root of what it reports"},
    {"loss",
     "mape msle rmsle sse sae squaredhinge categoricalhinge kl kld kldiv kldivergence "
     "cosine cosinesimilarity cosineembedding ctc "
     "triplet contrastive dice tversky iou ranking marginranking wasserstein exponential tweedie gamma",
     ""},

    {"optimizer", "stochasticgradientdescent", "sgd"},
    {"optimizer", "gd gradientdescent batchgradientdescent steepestdescent", "",
     "use sgd; batches of all samples make it gradient descent on all of them"},
    {"optimizer", "momentum sgdm sgdmomentum sgdwithmomentum heavyball", "", "use sgd with momentum=0.9"},
    {"optimizer", "nesterov nag sgdnesterov nesterovmomentum", "", "use sgd with momentum=0.9 and nesterov"},
    {"optimizer", "amsgrad", "", "use adam with amsgrad"},
    {"optimizer", "adamweightdecay adamwithweightdecay decoupledadam", "adamw"},
    {"optimizer", "nesterovadam adamnesterov", "nadam"},
    {"optimizer", "rectifiedadam", "radam"},
    {"optimizer", "resilientpropagation", "rprop"},
    {"optimizer", "limitedmemorybfgs", "lbfgs"},
    {"optimizer", "bfgs lbfgsb fminlbfgsb", "", "lbfgs is the form with limited memory, without bounds"},
    {"optimizer", "newton newtonmethod truncatednewton tnc hessianfree", "",
     "newton_cg is Newton's method with conjugate gradients"},
    {"optimizer",
     "nadamw adan adabelief adabound adafactor adamod adamp adagradda ftrl "
     "lars irprop asgd averagedsgd sparseadam sgdw sgdr sgdp yogi novograd sophia muon shampoo ranger lookahead "
     "cg conjugategradient levenbergmarquardt lm",
     ""},

    {"initializer", "xavier glorot xavierglorot", "", kGlorot},
    {"initializer", "kaiming he msra", "", kHe},
    {"initializer", "xavieruniform", "glorot_uniform"},
    {"initializer", "xaviernormal", "glorot_normal"},
    {"initializer", "kaiminguniform", "he_uniform"},
    {"initializer", "kaimingnormal", "he_normal"},
    {"initializer", "zero", "zeros"},
    {"initializer", "one", "ones"},
    {"initializer", "randomnormal gaussian randn", "", "use stoop.initializers.normal(std)"},
    {"initializer", "randomuniform rand random", "", "use stoop.initializers.uniform(limit)"},
    {"initializer", "truncatednormal truncnormal variancescaling identity eye dirac sparse deltaorthogonal", ""},

    {"schedule", "cosineannealing cosineannealinglr cosinedecay cosinelr halfcosine", "cosine"},
    {"schedule", "steplr stepdecay staircase", "step"},
    {"schedule", "multistep multisteplr piecewiseconstant piecewiseconstantdecay", "piecewise"},
    {"schedule", "exponentiallr exponentialdecay exp", "exponential"},
    {"schedule", "inversetimedecay", "inverse_time"},
    {"schedule", "invscaling", "power"},
    {"schedule", "polynomiallr polynomialdecay poly", "polynomial"},
    {"schedule", "linearlr lineardecay", "linear"},
    {"schedule", "linearwarmup warmupconstant", "warmup"},
    {"schedule", "onecyclelr 1cycle", "one_cycle"},
    {"schedule", "cycliclr triangular", "cyclic"},
    {"schedule", "cosinewithrestarts cosineannealingwarmrestarts cosinedecayrestarts sgdr", "cosine_restarts"},
    {"schedule", "sequentiallr chained joinschedules", "sequential"},
    {"schedule", "flatcos", "flat_cosine"},
    {"schedule", "constantlr none fixed", "constant"},
    {"schedule",
     "noam "
     "reducelronplateau plateau reduceonplateau adaptive lambda lambdalr",
     ""},

    {"precision", "float fp32 f32 single 32", "float32"},
    {"precision", "double fp64 f64 64", "float64"},
    {"precision", "bf16 brainfloat bf16mixed mixedbfloat16", "bfloat16"},
    {"precision", "float16 fp16 f16 half 16 16mixed mixedfloat16 mixed tf32 tensorfloat32 float8 int8", ""},
    {"dtype", "float fp32 f32 single 32 torchfloat32 torchfloat", "float32"},
    {"dtype", "double fp64 f64 64 torchfloat64 torchdouble", "float64"},
    {"dtype", "bfloat16 bf16", "", "use a float32 model and Trainer(precision=\"bfloat16\")"},
    {"dtype", "float16 fp16 f16 half 16 float128 longdouble", ""},

    {"last_batch", "droplast discard skip truncate", "drop"},
    {"last_batch", "keeplast partial smaller", "keep"},
    {"last_batch", "pad wrap repeat rollover", ""},

    {"per", "steps update updates batch batches iteration iterations iter", "step"},
    {"per", "epochs", "epoch"},

    {"metric", "acc accuracyscore binaryaccuracy categoricalaccuracy sparsecategoricalaccuracy", "accuracy"},

    {"layer", "linear fc fullyconnected affine innerproduct", "dense"},
    {"layer", "batchnorm1d batchnormalization bn", "batch_norm"},
    {"layer", "layernormalization ln", "layer_norm"},
    {"layer", "skip shortcut resnet residualblock", "residual"},
    {"layer", "swish", "silu"},
    {"layer", "logistic", "sigmoid"},
    {"layer", "softmax logsoftmax", "", kLeaveOut},
    {"layer", "relu6 selu celu prelu mish glu hardswish softsign", ""},
};

// Returns only the letters and digits, in lower case: "Leaky-ReLU" and "leaky_relu" become one name.
std::string compact(std::string_view name) {
  std::string result;
  for (const char c : name.substr(0, kMaxBytes)) {
    if (c >= 'A' && c <= 'Z') result += static_cast<char>(c - 'A' + 'a');
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) result += c;
  }
  return result;
}

// Removes the word for the kind of thing, as in MSELoss or AdamOptimizer.
std::string without_kind(const std::string& key) {
  for (const std::string_view kind : {"loss"sv, "optimizer"sv, "layer"sv, "activation"sv, "initializer"sv}) {
    if (key.size() > kind.size() && key.ends_with(kind)) return key.substr(0, key.size() - kind.size());
  }
  return key;
}

bool holds_word(std::string_view words, std::string_view word) {
  for (std::size_t begin = 0; begin < words.size();) {
    const std::size_t end = std::min(words.find(' ', begin), words.size());
    if (words.substr(begin, end - begin) == word) return true;
    begin = end + 1;
  }
  return false;
}

const Foreign* find_foreign(std::string_view what, std::string_view key) {
  const auto found = std::find_if(std::begin(kForeign), std::end(kForeign), [&](const Foreign& foreign) {
    return foreign.what == what && holds_word(foreign.names, key);
  });
  return found == std::end(kForeign) ? nullptr : found;
}

std::string digits_of(std::string_view key) {
  std::string digits;
  std::copy_if(key.begin(), key.end(), std::back_inserter(digits), [](char c) { return c >= '0' && c <= '9'; });
  return digits;
}

// Counts the insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b` (Damerau 1964; the
// restricted form, which touches no place twice).
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> table(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t j = 0; j <= b.size(); ++j) table[0][j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    table[i][0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substituted = table[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      table[i][j] = std::min({table[i - 1][j] + 1, table[i][j - 1] + 1, substituted});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        table[i][j] = std::min(table[i][j], table[i - 2][j - 2] + 1);
      }
    }
  }
  return table[a.size()][b.size()];
}

// The number of slips up to which a name counts as mistyped.
std::size_t most_slips(std::size_t length) { return length <= 4 ? 1 : 2; }

std::string did_you_mean(std::span<const std::string_view> names) {
  std::string hint = "did you mean ";
  for (const std::string_view name : names) hint += (name == names.front() ? "" : " or ") + in_quotes(name);
  return hint + "?";
}

// A name cut short is nearer than a mistyped one. A digit is no slip: "float16" is not "float32", "3.bias" not "0.bias".
std::string guess(const std::string& key, std::span<const std::string_view> valid) {
  constexpr std::size_t kMostGuesses = 3;
  std::vector<std::string_view> begun;
  std::string_view nearest;
  std::size_t smallest = 0;
  for (const std::string_view candidate : valid) {
    const std::string other = compact(candidate);
    if (key.size() >= 2 && other.starts_with(key)) begun.push_back(candidate);
    if (digits_of(other) != digits_of(key)) continue;
    const std::size_t distance = edit_distance(key, other);
    if (distance > most_slips(std::max(key.size(), other.size())) || distance >= other.size()) continue;
    if (nearest.empty() || distance < smallest) {
      nearest = candidate;
      smallest = distance;
    }
  }
  if (!begun.empty() && begun.size() <= kMostGuesses) return did_you_mean(begun);
  return nearest.empty() ? std::string(kNoHint) : did_you_mean({&nearest, 1});
}

}  // namespace

std::string suggest(std::string_view what, std::string_view name, std::span<const std::string_view> valid) {
  const std::string whole = compact(name), bare = without_kind(whole);
  for (const std::string& key : {whole, bare}) {
    for (const std::string_view candidate : valid) {
      if (compact(candidate) == key && !key.empty()) return did_you_mean({&candidate, 1});
    }
    const Foreign* foreign = find_foreign(what, key);
    if (foreign == nullptr) continue;
    if (std::find(valid.begin(), valid.end(), foreign->meant) != valid.end()) return did_you_mean({&foreign->meant, 1});
    return std::string(foreign->advice.empty() ? kNoHint : foreign->advice);
  }
  return guess(whole, valid);
}

}  // namespace stoop
